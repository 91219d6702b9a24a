"""The shop's back office: shelves, products with their choices, and the orders to read."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from demo_store.models import Category, Choice, Order, OrderItem, Product


@admin.register(Category)
class CategoryAdmin(admin.ModelAdmin):
    list_display = ["name", "slug", "blurb", "tone", "position"]
    list_editable = ["position"]
    search_fields = ["name", "slug"]
    prepopulated_fields = {"slug": ["name"]}


class ChoiceInline(admin.TabularInline):
    model = Choice
    extra = 0


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ["name", "category", "price", "featured", "listed"]
    list_filter = ["category", "featured", "listed"]
    list_select_related = ["category"]
    list_editable = ["price", "featured", "listed"]
    search_fields = ["name", "slug", "tagline", "description"]
    prepopulated_fields = {"slug": ["name"]}
    inlines = [ChoiceInline]
    actions = ["take_off_sale", "put_on_sale"]

    @admin.action(description="Take the selected products off sale")
    def take_off_sale(self, request: HttpRequest, queryset: QuerySet[Product]) -> None:
        changed = queryset.update(listed=False)
        self.message_user(request, f"Products taken off sale: {changed}.")

    @admin.action(description="Put the selected products on sale")
    def put_on_sale(self, request: HttpRequest, queryset: QuerySet[Product]) -> None:
        changed = queryset.update(listed=True)
        self.message_user(request, f"Products put on sale: {changed}.")


class ReadOnly:
    """An order is a record: the admin shows it and changes nothing."""

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


class OrderItemInline(ReadOnly, admin.TabularInline):
    model = OrderItem
    fields = ["name", "options", "unit_price", "quantity"]
    can_delete = False
    extra = 0


@admin.register(Order)
class OrderAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["number", "placed_at", "name", "email", "pieces", "total", "delivery"]
    list_filter = ["placed_at", "delivery", "country"]
    search_fields = ["number", "name", "email", "postcode"]
    date_hierarchy = "placed_at"
    inlines = [OrderItemInline]
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        return Order.objects.with_counts()

    @admin.display(description="pieces", ordering="pieces")
    def pieces(self, order: Order) -> int:
        return int(order.pieces)  # type: ignore[attr-defined]
