"""The cart: looked at with GET, changed with POST, and every change redirects."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from demo_store import orders
from demo_store.cart import MAX_LINES, MAX_QUANTITY, Cart, CartFullError
from demo_store.forms import AddForm, QuantityForm
from demo_store.models import Product
from demo_store.views.shop import not_found


@never_cache
@require_safe
def show(request: HttpRequest) -> HttpResponse:
    cart = Cart(request.session)
    summary = orders.summarise(cart, orders.details_of(request.session))
    if cart.dropped:
        messages.warning(request, "Something in your cart is no longer sold. We took it out.")
    context = {"summary": summary, "max_quantity": MAX_QUANTITY}
    if not summary.lines:
        popular = Product.objects.on_sale().filter(featured=True).sorted_by("featured")
        context["popular"] = popular[:4]
    return render(request, "demo_store/cart.html", context)


@require_POST
def add(request: HttpRequest) -> HttpResponse:
    slug = request.POST.get("product", "").replace("\0", "")
    product = Product.objects.on_sale().prefetch_related("choices").filter(slug=slug).first()
    if product is None:
        return not_found(request, "We do not have that, or do not have it any more.")
    form = AddForm(product, request.POST)
    if not form.is_valid():
        _say_errors(request, form)
        return redirect(product)
    try:
        added = Cart(request.session).add(product, form.chosen(), form.cleaned_data["quantity"])
    except CartFullError:
        messages.error(request, f"Your cart already holds {MAX_LINES} different things.")
        return redirect("demo_store:cart")
    if added < form.cleaned_data["quantity"]:
        messages.warning(
            request, f"{product.name}: your cart now holds {MAX_QUANTITY}, the most we send."
        )
    else:
        messages.success(request, f"{product.name} is in your cart.")
    return redirect("demo_store:cart")


@require_POST
def update(request: HttpRequest) -> HttpResponse:
    form = QuantityForm(request.POST)
    if not form.is_valid():
        _say_errors(request, form)
    elif Cart(request.session).update(request.POST.get("line", ""), form.cleaned_data["quantity"]):
        messages.success(request, "Quantity changed.")
    else:
        messages.warning(request, "That is no longer in your cart.")
    return redirect("demo_store:cart")


@require_POST
def remove(request: HttpRequest) -> HttpResponse:
    if Cart(request.session).remove(request.POST.get("line", "")):
        messages.success(request, "Taken out of your cart.")
    else:
        messages.warning(request, "That was no longer in your cart.")
    return redirect("demo_store:cart")


def _say_errors(request: HttpRequest, form: QuantityForm) -> None:
    for errors in form.errors.values():
        for error in errors:
            messages.error(request, str(error))
