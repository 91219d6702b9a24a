"""Verse's addresses, included under `demo`. The tracker reports them without that prefix."""

from django.urls import path, re_path
from django.views.generic import RedirectView

from demo_store.views import cart, checkout, shop

app_name = "demo_store"

to_home = RedirectView.as_view(pattern_name="demo_store:home")

urlpatterns = [
    path("", to_home, name="index"),
    path("/", to_home),
    path("/home", shop.home, name="home"),
    path("/products", shop.products, name="products"),
    path("/product/<slug:slug>", shop.product, name="product"),
    path("/search", shop.search, name="search"),
    path("/cart", cart.show, name="cart"),
    path("/cart/add", cart.add, name="cart-add"),
    path("/cart/update", cart.update, name="cart-update"),
    path("/cart/remove", cart.remove, name="cart-remove"),
    path("/checkout", checkout.checkout, name="checkout"),
    path("/payment", checkout.payment, name="payment"),
    path("/confirm", checkout.confirm, name="confirm"),
    re_path(r"^/(?P<path>.+)$", shop.missing),
]
