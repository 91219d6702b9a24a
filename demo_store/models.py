"""What Verse sells, and what has been bought from it.

No model has room for any part of a payment card: see `demo_store.cards`.
"""

import secrets
from decimal import Decimal
from typing import Any, Self

from django.core.validators import MinValueValidator
from django.db import models
from django.urls import reverse

from demo_store.delivery import COUNTRIES, METHODS

# Without the characters that are confused when read aloud or copied by hand.
NUMBER_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


class Tint(models.TextChoices):
    """The colours that objects are drawn in; verse.css holds their values."""

    INK = "ink", "Ink"
    OAT = "oat", "Oat"
    CLAY = "clay", "Clay"
    MOSS = "moss", "Moss"
    SKY = "sky", "Sky"
    PLUM = "plum", "Plum"
    BRASS = "brass", "Brass"
    ROSE = "rose", "Rose"


class Tone(models.TextChoices):
    """The colours of the wall behind a drawing, one for each category."""

    SAND = "sand", "Sand"
    SUN = "sun", "Sun"
    LAKE = "lake", "Lake"
    BLUSH = "blush", "Blush"
    SAGE = "sage", "Sage"
    DUSK = "dusk", "Dusk"


class CategoryManager(models.Manager["Category"]):
    def get_by_natural_key(self, slug: str) -> "Category":
        return self.get(slug=slug)


class Category(models.Model):
    """A shelf of the shop."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=60)
    blurb = models.CharField(max_length=160, help_text="One line under the category's heading.")
    tone = models.CharField(max_length=12, choices=Tone, default=Tone.SAND)
    art = models.SlugField(help_text="The drawing that stands for the category.")
    position = models.PositiveSmallIntegerField(default=0)

    objects = CategoryManager()

    class Meta:
        ordering = ["position", "name"]
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return f"{reverse('demo_store:products')}?category={self.slug}"

    def natural_key(self) -> tuple[str]:
        return (self.slug,)


class ProductQuerySet(models.QuerySet["Product"]):
    SORTS = {
        "featured": ("-featured", "category__position", "position"),
        "price-low": ("price", "name"),
        "price-high": ("-price", "name"),
        "name": ("name",),
    }

    def on_sale(self) -> Self:
        """Products that visitors may see, each with its category."""
        return self.filter(listed=True).select_related("category")

    def sorted_by(self, sort: str) -> Self:
        """In the order named `sort`; an unknown name gives the shop's own order."""
        return self.order_by(*self.SORTS.get(sort, self.SORTS["featured"]))

    def matching(self, words: list[str]) -> Self:
        """Products that hold every word in name, tagline, description or category.

        Those whose name holds the first word come first.
        """
        found = self
        for word in words:
            found = found.filter(
                models.Q(name__icontains=word)
                | models.Q(tagline__icontains=word)
                | models.Q(description__icontains=word)
                | models.Q(category__name__icontains=word)
            )
        in_name = models.Case(
            models.When(name__icontains=words[0] if words else "", then=0), default=1
        )
        return found.order_by(in_name, "category__position", "position")

    def beside(self, product: "Product", count: int = 4) -> Self:
        """Up to `count` other products, those of the same category first."""
        same = models.Case(models.When(category=product.category_id, then=0), default=1)
        return self.exclude(pk=product.pk).order_by(same, "-featured", "position")[:count]


class ProductManager(models.Manager.from_queryset(ProductQuerySet)):  # type: ignore[misc]
    def get_by_natural_key(self, slug: str) -> "Product":
        product: Product = self.get(slug=slug)
        return product


class Product(models.Model):
    """A thing that Verse sells. Its choices, if any, hang below it."""

    slug = models.SlugField(unique=True)
    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="products")
    name = models.CharField(max_length=80)
    tagline = models.CharField(max_length=120, help_text="One line, shown on cards.")
    description = models.TextField()
    details = models.TextField(blank=True, help_text="One fact a line: size, material, care.")
    price = models.DecimalField(
        max_digits=8, decimal_places=2, validators=[MinValueValidator(Decimal("0.01"))]
    )
    art = models.SlugField(help_text="The name of the drawing; an unknown one shows a parcel.")
    tint = models.CharField(max_length=12, choices=Tint, default=Tint.INK)
    featured = models.BooleanField(default=False, help_text="Shown on the home page.")
    listed = models.BooleanField(default=True, help_text="Whether visitors can find and buy it.")
    position = models.PositiveSmallIntegerField(default=0)

    objects = ProductManager()

    class Meta:
        ordering = ["category__position", "position", "name"]
        constraints = [
            models.CheckConstraint(condition=models.Q(price__gt=0), name="product_price_positive")
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("demo_store:product", args=[self.slug])

    def natural_key(self) -> tuple[str]:
        return (self.slug,)

    @property
    def detail_lines(self) -> list[str]:
        return [line.strip() for line in self.details.splitlines() if line.strip()]

    def choices_by_kind(self) -> dict[str, list["Choice"]]:
        """Its choices under what they decide: `{"Colour": [...], "Ruling": [...]}`."""
        kinds: dict[str, list[Choice]] = {}
        for choice in self.choices.all():
            kinds.setdefault(choice.kind, []).append(choice)
        return kinds


class ChoiceManager(models.Manager["Choice"]):
    def get_by_natural_key(self, slug: str, kind: str, label: str) -> "Choice":
        return self.get(product__slug=slug, kind=kind, label=label)


class Choice(models.Model):
    """One value of one option of a product: Colour, Clay."""

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="choices")
    kind = models.CharField(max_length=30, help_text="What is chosen: Colour, Size, Ruling.")
    label = models.CharField(max_length=40)
    tint = models.CharField(
        max_length=12, choices=Tint, blank=True, help_text="For colours: what it is drawn in."
    )
    extra = models.DecimalField(
        max_digits=8, decimal_places=2, default=Decimal("0.00"), validators=[MinValueValidator(0)]
    )
    position = models.PositiveSmallIntegerField(default=0)

    objects = ChoiceManager()

    class Meta:
        ordering = ["position", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["product", "kind", "label"], name="choice_unique")
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.label}"

    def natural_key(self) -> tuple[str, str, str]:
        return (self.product.slug, self.kind, self.label)

    natural_key.dependencies = ["demo_store.product"]  # type: ignore[attr-defined]


def order_number() -> str:
    """A number to quote: V- and eight characters, about 10¹¹ of them."""
    return "V-" + "".join(secrets.choice(NUMBER_ALPHABET) for _ in range(8))


class OrderQuerySet(models.QuerySet["Order"]):
    def with_items(self) -> Self:
        return self.prefetch_related("items__product__category")

    def with_counts(self) -> Self:
        return self.annotate(pieces=models.Sum("items__quantity", default=0))


class Order(models.Model):
    """A paid order, with the names and prices of the day it was placed."""

    number = models.CharField(max_length=12, unique=True, default=order_number, editable=False)
    # One per checkout: however often its payment is sent, there is one order.
    attempt = models.UUIDField(unique=True, editable=False)
    placed_at = models.DateTimeField(auto_now_add=True, db_index=True)
    name = models.CharField(max_length=80)
    email = models.EmailField()
    line1 = models.CharField("address", max_length=120)
    line2 = models.CharField("second address line", max_length=120, blank=True)
    city = models.CharField("town or city", max_length=80)
    postcode = models.CharField(max_length=12)
    country = models.CharField(max_length=2, choices=[(c.code, c.name) for c in COUNTRIES])
    delivery = models.CharField(max_length=12, choices=[(m.key, m.label) for m in METHODS])
    subtotal = models.DecimalField(max_digits=10, decimal_places=2)
    delivery_cost = models.DecimalField(max_digits=8, decimal_places=2)
    total = models.DecimalField(max_digits=10, decimal_places=2)

    objects = OrderQuerySet.as_manager()

    class Meta:
        ordering = ["-placed_at"]

    def __str__(self) -> str:
        return self.number

    @property
    def address_lines(self) -> list[str]:
        lines: list[Any] = [self.name, self.line1, self.line2, self.city, self.postcode]
        return [str(line) for line in [*lines, self.get_country_display()] if line]


class OrderItem(models.Model):
    """A line of an order; it keeps its words and price when the product changes or goes."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="items")
    product = models.ForeignKey(Product, null=True, on_delete=models.SET_NULL, related_name="+")
    name = models.CharField(max_length=80)
    options = models.CharField(max_length=200, blank=True)
    tint = models.CharField(max_length=12, choices=Tint, default=Tint.INK)
    unit_price = models.DecimalField(max_digits=8, decimal_places=2)
    quantity = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.name}"

    @property
    def total(self) -> Decimal:
        return self.unit_price * self.quantity
