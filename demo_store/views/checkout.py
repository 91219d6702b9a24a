"""From the cart to an order: delivery details, a test card, and the confirmation."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.debug import SafeExceptionReporterFilter
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe

from demo_store import orders
from demo_store.cards import TEST_CARDS
from demo_store.cart import Cart
from demo_store.delivery import METHODS
from demo_store.forms import CheckoutForm, PaymentForm


class AlwaysHide(SafeExceptionReporterFilter):
    """Hides what is marked sensitive on the debug page too, where Django would show it."""

    def is_active(self, request: HttpRequest | None) -> bool:
        return True


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def checkout(request: HttpRequest) -> HttpResponse:
    details = orders.details_of(request.session)
    summary = orders.summarise(Cart(request.session), details)
    if not summary.lines:
        return _empty(request)
    form = CheckoutForm(request.POST if request.method == "POST" else None, initial=details)
    if form.is_valid():
        orders.keep_details(request.session, form.cleaned_data)
        return redirect("demo_store:payment")
    methods = [{"method": m, "cost": m.cost(summary.subtotal)} for m in METHODS]
    context = {"form": form, "summary": summary, "methods": methods}
    return render(request, "demo_store/checkout.html", context)


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def payment(request: HttpRequest) -> HttpResponse:
    request.exception_reporter_filter = AlwaysHide()
    return _payment(request)


@sensitive_variables()
def _payment(request: HttpRequest) -> HttpResponse:
    if orders.placed(request.session, request.POST.get("attempt", "")):
        return redirect("demo_store:confirm")  # the same payment, sent twice
    details = orders.details_of(request.session)
    summary = orders.summarise(Cart(request.session), details)
    if not summary.lines:
        return _empty(request)
    if details is None:
        messages.info(request, "First tell us where to send it.")
        return redirect("demo_store:checkout")
    data = request.POST if request.method == "POST" else None
    form = PaymentForm(details["attempt"], summary.total, data)
    if form.is_valid():
        orders.place(request.session, summary, details)
        return redirect("demo_store:confirm")
    context = {"form": form, "summary": summary, "details": details, "cards": TEST_CARDS}
    return render(request, "demo_store/payment.html", context)


@never_cache
@require_safe
def confirm(request: HttpRequest) -> HttpResponse:
    order = orders.placed(request.session)
    if order is None:
        messages.info(request, "There is no order to show yet.")
        return redirect("demo_store:cart")
    return render(request, "demo_store/confirm.html", {"order": order})


def _empty(request: HttpRequest) -> HttpResponse:
    messages.info(request, "Your cart is empty. Put something in it first.")
    return redirect("demo_store:cart")
