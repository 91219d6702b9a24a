"""The pages to look at: home, catalogue, product, search, and the shop's own 404."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from demo_store.forms import AddForm, SearchForm
from demo_store.models import Category, Product

SORTS = (
    ("featured", "Our order"),
    ("price-low", "Price, low first"),
    ("price-high", "Price, high first"),
    ("name", "Name"),
)
SUGGESTIONS = ("lamp", "notebook", "ink", "linen", "poems", "tea")


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    products = Product.objects.on_sale().filter(featured=True).sorted_by("featured")[:8]
    return render(request, "demo_store/home.html", {"products": products})


@require_safe
def products(request: HttpRequest) -> HttpResponse:
    slug = request.GET.get("category", "")
    category = Category.objects.filter(slug=slug.replace("\0", "")).first() if slug else None
    if slug and category is None:
        return not_found(request, "That shelf does not exist.")
    sort = request.GET.get("sort", "")
    found = Product.objects.on_sale().sorted_by(sort)
    if category:
        found = found.filter(category=category)
    context = {
        "category": category,
        "products": found,
        "sorts": SORTS,
        "on_catalogue": True,
        "sort": sort if sort in Product.objects.all().SORTS else "featured",
    }
    return render(request, "demo_store/products.html", context)


@require_safe
def product(request: HttpRequest, slug: str) -> HttpResponse:
    found = Product.objects.on_sale().prefetch_related("choices").filter(slug=slug).first()
    if found is None:
        return not_found(request, "We do not have that, or do not have it any more.")
    context = {
        "product": found,
        "form": AddForm(found),
        "beside": Product.objects.on_sale().beside(found),
    }
    return render(request, "demo_store/product.html", context)


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    form = SearchForm(request.GET)
    words = form.words() if form.is_valid() else []
    found = list(Product.objects.on_sale().matching(words)) if words else []
    context = {
        "form": form,
        "words": words,
        "words_typed": form.cleaned_data.get("q", ""),
        "products": found,
        "suggestions": SUGGESTIONS,
    }
    if not found:
        popular = Product.objects.on_sale().filter(featured=True).sorted_by("featured")
        context["popular"] = popular[:4]
    return render(request, "demo_store/search.html", context)


def missing(request: HttpRequest, path: str = "") -> HttpResponse:
    """Any other address of the shop."""
    return not_found(request, "That page does not exist.")


def not_found(request: HttpRequest, reason: str) -> HttpResponse:
    """The shop's own 404: it looks the same with DEBUG on."""
    popular = Product.objects.on_sale().filter(featured=True).sorted_by("featured")[:4]
    context = {"reason": reason, "popular": popular}
    return render(request, "demo_store/not_found.html", context, status=404)
