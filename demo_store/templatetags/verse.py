"""What the shop's templates need: prices, drawings, the cart's count and the shelves."""

from decimal import Decimal

from django import template
from django.db.models import QuerySet
from django.template.context import RequestContext
from django.template.loader import select_template
from django.utils.safestring import SafeString

from demo_store.cart import Cart
from demo_store.models import Category

register = template.Library()


@register.filter
def money(amount: Decimal) -> str:
    """£1,234.50"""
    return f"£{amount:,.2f}"


@register.simple_tag
def art(name: str) -> SafeString:
    """The drawing of that name, inline, so that it takes the colours of where it stands.

    A product added by hand may name a drawing that does not exist: it gets a parcel.
    """
    found = select_template([f"demo_store/art/{name}.svg", "demo_store/art/parcel.svg"])
    return SafeString(found.render())


@register.simple_tag(takes_context=True)
def cart_count(context: RequestContext) -> int:
    """How many pieces are in the visitor's cart."""
    return Cart(context["request"].session).count


@register.simple_tag
def shelves() -> QuerySet[Category]:
    """The categories, for the menu."""
    return Category.objects.all()
