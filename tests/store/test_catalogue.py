"""The shipped catalogue: complete, and careful with what a shop has changed."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, transaction

import demo_store
from demo_store import catalogue
from demo_store.models import Category, Choice, Product, order_number

pytestmark = pytest.mark.usefixtures("catalogue")

DRAWINGS = Path(demo_store.__file__).parent / "templates" / "demo_store" / "art"


def test_the_migration_filled_the_shelves() -> None:
    assert Category.objects.count() == 6
    assert Product.objects.count() == 24
    assert all(shelf.products.count() >= 3 for shelf in Category.objects.all())


def test_everything_is_drawn() -> None:
    names = {product.art for product in Product.objects.all()}
    names |= {shelf.art for shelf in Category.objects.all()}
    assert len(names) == 24
    assert names <= {path.stem for path in DRAWINGS.glob("*.svg")}


def test_drawings_carry_no_style_script_or_link() -> None:
    for path in DRAWINGS.glob("*.svg"):
        text = path.read_text()
        assert not re.search(r"style=|<script|href|http|\son\w+=|\sid=", text), path


def test_loading_again_adds_nothing_and_leaves_changes_alone() -> None:
    Product.objects.filter(slug="chapter-mug").update(price=Decimal("99.00"))
    assert catalogue.add_missing(apps) == 0
    assert Product.objects.get(slug="chapter-mug").price == Decimal("99.00")


def test_loading_again_brings_back_what_is_missing() -> None:
    Product.objects.filter(slug="chapter-mug").delete()
    assert catalogue.add_missing(apps) == 1 + 4  # the mug and its colours
    assert Choice.objects.filter(product__slug="chapter-mug").count() == 4


def test_the_fixture_resets_the_catalogue() -> None:
    Product.objects.filter(slug="chapter-mug").update(price=Decimal("99.00"))
    call_command("loaddata", "verse", verbosity=0)
    assert Product.objects.get(slug="chapter-mug").price == Decimal("16.00")
    assert Product.objects.count() == 24


def test_the_database_refuses_a_price_of_nothing() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Product.objects.filter(slug="chapter-mug").update(price=0)


def test_order_numbers_are_short_and_not_alike() -> None:
    numbers = {order_number() for _ in range(500)}
    assert len(numbers) == 500
    assert all(len(number) == 10 and number.startswith("V-") for number in numbers)
