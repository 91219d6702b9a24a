"""The cart: adding, changing, taking out, and its limits."""

from decimal import Decimal

import pytest

from demo_store.cart import MAX_LINES, MAX_QUANTITY, SESSION_KEY
from demo_store.models import Category, Choice, Product
from tests.store.conftest import Shopper, StoreQueries


def lines(shopper: Shopper) -> list[tuple[str, str, int]]:
    summary = shopper.get("/cart").context["summary"]
    return [(line.product.slug, line.options, line.quantity) for line in summary.lines]


def key_of(shopper: Shopper) -> str:
    return str(next(iter(shopper.client.session[SESSION_KEY])))


def test_adding_shows_the_cart_with_a_message(shopper: Shopper) -> None:
    answer = shopper.add("margin-notebook", colour="Plum", ruling="Dotted")
    assert (answer.status_code, answer["Location"]) == (302, "/demo/cart")
    page = shopper.get("/cart").content.decode()
    assert "Margin notebook is in your cart." in page
    assert "Plum, Dotted" in page


def test_the_same_thing_twice_is_one_line(shopper: Shopper) -> None:
    shopper.add("margin-notebook", 2, colour="Plum")
    shopper.add("margin-notebook", 3, colour="Plum")
    assert lines(shopper) == [("margin-notebook", "Plum, Ruled", 5)]


def test_another_colour_is_another_line(shopper: Shopper) -> None:
    shopper.add("margin-notebook", colour="Plum")
    shopper.add("margin-notebook", colour="Sky")
    assert [options for _, options, _ in lines(shopper)] == ["Plum, Ruled", "Sky, Ruled"]


def test_a_dearer_choice_costs_more(shopper: Shopper) -> None:
    shopper.add("meridian-desk-lamp", 2, colour="Brass")
    summary = shopper.get("/cart").context["summary"]
    assert summary.lines[0].unit_price == Decimal("103.00")
    assert summary.subtotal == Decimal("206.00")


def test_the_price_is_the_databases_not_the_sessions(shopper: Shopper) -> None:
    shopper.add("the-tide-tables")
    Product.objects.filter(slug="the-tide-tables").update(price=Decimal("12.25"))
    assert shopper.get("/cart").context["summary"].subtotal == Decimal("12.25")


@pytest.mark.parametrize(
    ("quantity", "message"),
    [
        ("0", "Order at least one."),
        ("-3", "Order at least one."),
        ("21", "at most 20"),
        ("two", "whole number"),
        ("1.5", "whole number"),
        ("", "how many"),
        ("9" * 5000, "whole number"),
    ],
)
def test_a_bad_quantity_adds_nothing_and_says_why(
    shopper: Shopper, quantity: str, message: str
) -> None:
    answer = shopper.add("the-tide-tables", quantity)
    assert answer["Location"] == "/demo/product/the-tide-tables"
    assert message in shopper.get("/product/the-tide-tables").content.decode()
    assert lines(shopper) == []


def test_a_line_never_holds_more_than_the_limit(shopper: Shopper) -> None:
    shopper.add("the-tide-tables", 15)
    shopper.add("the-tide-tables", 15)
    assert "the most we send" in shopper.get("/cart").content.decode()
    assert lines(shopper) == [("the-tide-tables", "", MAX_QUANTITY)]


def test_a_full_cart_takes_no_other_thing_but_more_of_the_same(shopper: Shopper) -> None:
    shelf = Category.objects.create(slug="s", name="S", blurb="")
    for number in range(MAX_LINES + 1):
        Product.objects.create(
            slug=f"p{number}", name=f"P{number}", category=shelf, price=1, art="mug"
        )
        shopper.add(f"p{number}")
    assert len(lines(shopper)) == MAX_LINES
    shopper.add("p0")
    assert lines(shopper)[0] == ("p0", "", 2)


@pytest.mark.parametrize("value", ["", "999999", "plum", "-1"])
def test_a_choice_that_is_not_offered_is_refused(shopper: Shopper, value: str) -> None:
    good = Choice.objects.get(product__slug="margin-notebook", label="Dotted").pk
    data = {"product": "margin-notebook", "quantity": 1, "colour": value, "ruling": good}
    assert shopper.post("/cart/add", data)["Location"] == "/demo/product/margin-notebook"
    assert lines(shopper) == []


def test_a_choice_of_another_product_is_refused(shopper: Shopper) -> None:
    other = Choice.objects.get(product__slug="chapter-mug", label="Sky").pk
    ruling = Choice.objects.get(product__slug="margin-notebook", label="Dotted").pk
    data = {"product": "margin-notebook", "quantity": 1, "colour": other, "ruling": ruling}
    shopper.post("/cart/add", data)
    assert lines(shopper) == []


@pytest.mark.parametrize("slug", ["", "nothing", "a\0b"])
def test_adding_what_is_not_sold_is_a_404(shopper: Shopper, slug: str) -> None:
    assert shopper.post("/cart/add", {"product": slug, "quantity": 1}).status_code == 404


def test_changing_a_quantity(shopper: Shopper) -> None:
    shopper.add("the-tide-tables")
    answer = shopper.post("/cart/update", {"line": key_of(shopper), "quantity": 4})
    assert answer["Location"] == "/demo/cart"
    assert lines(shopper) == [("the-tide-tables", "", 4)]


@pytest.mark.parametrize("quantity", ["0", "21", "x", ""])
def test_a_bad_change_changes_nothing(shopper: Shopper, quantity: str) -> None:
    shopper.add("the-tide-tables", 2)
    shopper.post("/cart/update", {"line": key_of(shopper), "quantity": quantity})
    assert lines(shopper) == [("the-tide-tables", "", 2)]


def test_taking_out(shopper: Shopper) -> None:
    shopper.add("the-tide-tables")
    shopper.post("/cart/remove", {"line": key_of(shopper)})
    assert lines(shopper) == []


@pytest.mark.parametrize("path", ["/cart/update", "/cart/remove"])
def test_a_line_that_is_gone_is_said_to_be_gone(shopper: Shopper, path: str) -> None:
    shopper.post(path, {"line": "1-2-3", "quantity": 2})
    assert "no longer in your cart" in shopper.get("/cart").content.decode()


@pytest.mark.parametrize("change", [{"listed": False}, None])
def test_what_is_no_longer_sold_leaves_the_cart(
    shopper: Shopper, change: dict[str, bool] | None
) -> None:
    shopper.add("the-tide-tables")
    shopper.add("chapter-mug")
    gone = Product.objects.filter(slug="the-tide-tables")
    if change:
        gone.update(**change)
    else:
        gone.delete()
    answer = shopper.get("/cart")
    assert [line.product.slug for line in answer.context["summary"].lines] == ["chapter-mug"]
    assert "no longer sold" in answer.content.decode()
    assert "no longer sold" not in shopper.get("/cart").content.decode()


def test_a_choice_that_is_no_longer_sold_leaves_the_cart(shopper: Shopper) -> None:
    shopper.add("chapter-mug", colour="Moss")
    Choice.objects.filter(product__slug="chapter-mug", label="Moss").delete()
    assert lines(shopper) == []


def test_an_empty_cart_leads_back_to_the_shop(shopper: Shopper) -> None:
    page = shopper.get("/cart").content.decode()
    assert "Your cart is empty." in page
    assert "/demo/products" in page


def test_the_way_to_free_delivery(shopper: Shopper) -> None:
    shopper.add("arch-bookends")
    assert "£22.00 more, and delivery is free." in shopper.get("/cart").content.decode()
    shopper.add("arch-bookends")
    page = shopper.get("/cart").content.decode()
    assert "Standard delivery is free for this order." in page


def test_the_count_in_the_header(shopper: Shopper) -> None:
    shopper.add("the-tide-tables", 3)
    assert ">3<" in shopper.get("/home").content.decode()


def test_a_cart_asks_as_often_for_one_line_as_for_three(shopper: Shopper) -> None:
    counts = []
    for slug in ("the-tide-tables", "chapter-mug", "margin-notebook"):
        shopper.add(slug)
        with StoreQueries() as queries:
            shopper.get("/cart")
        counts.append(len(queries.own))
    assert counts == [3, 3, 3]  # products, choices, shelves


@pytest.mark.parametrize("path", ["/cart/add", "/cart/update", "/cart/remove"])
def test_changes_refuse_get(shopper: Shopper, path: str) -> None:
    assert shopper.get(path).status_code == 405


def test_two_shoppers_have_two_carts(shopper: Shopper) -> None:
    shopper.add("the-tide-tables")
    assert lines(Shopper()) == []
