"""The back office: products to work with, orders to read."""

import pytest
from django.test import Client
from django.urls import reverse

from demo_store.models import Order, Product
from tests.store.conftest import Shopper


@pytest.fixture
def order(at_payment: Shopper) -> Order:
    at_payment.pay()
    return Order.objects.get()


@pytest.mark.parametrize("model", ["category", "product", "order"])
@pytest.mark.parametrize("query", ["", "?q=lamp"])
def test_lists_open(admin_client: Client, order: Order, model: str, query: str) -> None:
    address = reverse(f"admin:demo_store_{model}_changelist")
    assert admin_client.get(address + query).status_code == 200


def test_a_product_opens_with_its_choices(admin_client: Client, catalogue: None) -> None:
    product = Product.objects.get(slug="margin-notebook")
    page = admin_client.get(reverse("admin:demo_store_product_change", args=[product.pk]))
    assert "Dotted" in page.content.decode()


def test_taking_off_sale_and_putting_back(admin_client: Client, catalogue: None) -> None:
    product = Product.objects.get(slug="chapter-mug")
    address = reverse("admin:demo_store_product_changelist")
    for action, listed in (("take_off_sale", False), ("put_on_sale", True)):
        data = {"action": action, "_selected_action": [product.pk]}
        page = admin_client.post(address, data, follow=True).content.decode()
        product.refresh_from_db()
        assert product.listed is listed
        assert "sale: 1." in page


def test_an_order_is_found_and_read_but_not_changed(admin_client: Client, order: Order) -> None:
    found = admin_client.get(reverse("admin:demo_store_order_changelist"), {"q": order.number})
    assert order.email in found.content.decode()
    address = reverse("admin:demo_store_order_change", args=[order.pk])
    page = admin_client.get(address).content.decode()
    assert "Margin notebook" in page
    assert 'name="_save"' not in page
    assert admin_client.post(address, {"name": "Eve"}).status_code == 403


def test_orders_are_not_made_by_hand(admin_client: Client, catalogue: None) -> None:
    assert admin_client.get(reverse("admin:demo_store_order_add")).status_code == 403
