"""The shop's forms. Each says what is wrong in words a shopper can act on."""

import datetime
import re
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.text import slugify

from demo_store import cards
from demo_store.cart import MAX_QUANTITY
from demo_store.delivery import COUNTRIES, COUNTRY, METHOD, METHODS
from demo_store.models import Choice, Product

SEARCH_WORDS = 6


class SearchForm(forms.Form):
    q = forms.CharField(max_length=80, required=False)

    def words(self) -> list[str]:
        """The words to look for, without the s of a plural: lamps finds a lamp."""
        words = self.cleaned_data.get("q", "").split()[:SEARCH_WORDS]
        return [w[:-1] if len(w) > 3 and w.lower().endswith("s") else w for w in words]


class QuantityForm(forms.Form):
    quantity = forms.IntegerField(
        min_value=1,
        max_value=MAX_QUANTITY,
        initial=1,
        error_messages={
            "required": "Say how many you would like.",
            "invalid": "Write the quantity as a whole number.",
            "min_value": "Order at least one.",
            "max_value": f"We can send at most {MAX_QUANTITY} of one thing in one order.",
        },
        widget=forms.NumberInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
    )


class AddForm(QuantityForm):
    """Puts a product into the cart; one field for each kind of choice the product has."""

    def __init__(self, product: Product, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.product = product
        self.kinds = {slugify(k): (k, choices) for k, choices in product.choices_by_kind().items()}
        for name, (kind, choices) in self.kinds.items():
            self.fields[name] = forms.TypedChoiceField(
                label=kind,
                choices=[(choice.pk, choice.label) for choice in choices],
                coerce=int,
                initial=choices[0].pk,
                widget=forms.RadioSelect,
                error_messages={
                    "required": f"Choose one: {kind.lower()}.",
                    "invalid_choice": f"That {kind.lower()} is not offered.",
                },
            )

    def groups(self) -> list[dict[str, Any]]:
        """For the template: each kind with its bound field and its choices."""
        return [
            {"kind": kind, "field": self[name], "choices": choices}
            for name, (kind, choices) in self.kinds.items()
        ]

    def chosen(self) -> list[Choice]:
        """The choices made, once the form is valid."""
        return [
            choice
            for name, (_, choices) in self.kinds.items()
            for choice in choices
            if choice.pk == self.cleaned_data[name]
        ]


def _text(label: str, missing: str, max_length: int, autocomplete: str, **kw: Any) -> Any:
    """A text field that says `missing` when it is left empty."""
    kw.setdefault("widget", forms.TextInput(attrs={"autocomplete": autocomplete}))
    return forms.CharField(
        label=label, max_length=max_length, error_messages={"required": missing}, **kw
    )


class CheckoutForm(forms.Form):
    name = _text("Full name", "Tell us who the parcel is for.", 80, "name")
    email = forms.EmailField(
        label="E-mail",
        help_text="For the receipt. This is a demo: nothing is sent.",
        error_messages={
            "required": "Give an e-mail address for the receipt.",
            "invalid": "That e-mail address is not complete. It should look like name@example.com.",
        },
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )
    line1 = _text("Address", "Give a street and number.", 120, "address-line1")
    line2 = _text("Flat, floor or company", "", 120, "address-line2", required=False)
    city = _text("Town or city", "Give a town or city.", 80, "address-level2")
    postcode = _text("Postcode", "Give a postcode.", 12, "postal-code")
    country = forms.ChoiceField(
        choices=[(c.code, c.name) for c in COUNTRIES],
        initial="GB",
        error_messages={"invalid_choice": "We do not deliver there yet. Choose a country."},
        widget=forms.Select(attrs={"autocomplete": "country"}),
    )
    delivery = forms.ChoiceField(
        choices=[(m.key, m.label) for m in METHODS],
        initial=METHODS[0].key,
        widget=forms.RadioSelect,
        error_messages={
            "required": "Choose how we should deliver.",
            "invalid_choice": "Choose one of the ways of delivery below.",
        },
    )

    def clean_postcode(self) -> str:
        return " ".join(self.cleaned_data["postcode"].upper().split())

    def clean(self) -> dict[str, Any]:
        """What depends on the country: the postcode's shape and the ways of delivery."""
        data = super().clean() or {}
        country = COUNTRY.get(data.get("country", ""))
        if country is None:
            return data
        postcode = data.get("postcode")
        if postcode and not country.postcode.fullmatch(postcode):
            self.add_error(
                "postcode",
                f"That is not a postcode for {country.name}. Write it like {country.example}.",
            )
        method = METHOD.get(data.get("delivery", ""))
        if method and method.only and method.only != country.code:
            where = COUNTRY[method.only].name
            self.add_error("delivery", f"{method.label} delivery is for the {where} only.")
        return data


class ForgetfulInput(forms.TextInput):
    """A text input that never writes what was typed back into the page."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        return super().get_context(name, None, attrs)


def _card_input(example: str, length: int) -> ForgetfulInput:
    return ForgetfulInput(
        attrs={
            "inputmode": "numeric",
            "autocomplete": "off",
            "spellcheck": "false",
            "placeholder": example,
            "maxlength": str(length),
        }
    )


class PaymentForm(forms.Form):
    """Looks at a card while the request lasts. Nothing of it is in `cleaned_data`."""

    name_on_card = _text("Name on card", "Give the name as it is on the card.", 80, "off")
    number = forms.CharField(
        label="Card number",
        help_text="Test cards only.",
        error_messages={"required": "Give a card number."},
        widget=_card_input("0000 0000 0000 0000", 23),
    )
    expiry = forms.CharField(
        label="Expires",
        help_text="Month and year, as 04/29.",
        error_messages={"required": "Give the month and year the card expires."},
        widget=_card_input("MM/YY", 7),
    )
    cvc = forms.CharField(
        label="Security code",
        help_text="3 digits on the back, or 4 on the front.",
        error_messages={"required": "Give the security code."},
        widget=_card_input("000", 4),
    )

    def __init__(self, attempt: str, total: Decimal, *args: Any, **kwargs: Any) -> None:
        """A payment of `attempt` worth `total`, both of which the page sends back."""
        super().__init__(*args, **kwargs)
        self.attempt = attempt
        self.total = total

    def clean_number(self) -> str:
        digits = re.sub(r"[\s-]", "", self.cleaned_data["number"])
        if not re.fullmatch(r"[0-9]+", digits):
            raise ValidationError("A card number holds digits only.", code="digits")
        if not 12 <= len(digits) <= 19:
            raise ValidationError("A card number has 12 to 19 digits.", code="length")
        if not cards.passes_luhn(digits):
            raise ValidationError(
                "That number is mistyped: its last digit does not fit the others.", code="luhn"
            )
        card = cards.BY_NUMBER.get(digits)
        if card is None:
            raise ValidationError(
                "That is not a test card. Please never type a real card into a demo; "
                "use one from the list.",
                code="not_test",
            )
        if card.declined:
            raise ValidationError(f"{card.declined} Try another.", code="declined")
        return digits

    def clean_expiry(self) -> str:
        match = re.fullmatch(r"(\d{1,2})\s*/\s*(?:20)?(\d{2})", self.cleaned_data["expiry"], re.A)
        if not match or not 1 <= int(match[1]) <= 12:
            raise ValidationError("Write the expiry as month/year, such as 04/29.", code="shape")
        today = timezone.localdate()
        last_month = datetime.date(2000 + int(match[2]), int(match[1]), 1)
        if last_month < today.replace(day=1):
            raise ValidationError("That card has expired.", code="expired")
        if last_month.year > today.year + 20:
            raise ValidationError("That is too far ahead for a card.", code="far")
        return match[0]

    def clean_cvc(self) -> str:
        code = str(self.cleaned_data["cvc"])
        card = cards.BY_NUMBER.get(self.cleaned_data.get("number", ""))
        lengths = {card.cvc_length} if card else {3, 4}
        if not re.fullmatch(r"[0-9]+", code) or len(code) not in lengths:
            words = " or ".join(str(length) for length in sorted(lengths))
            raise ValidationError(f"The security code has {words} digits.", code="cvc")
        return code

    def clean(self) -> dict[str, Any]:
        """The page must have shown what will be ordered. The card ends here."""
        super().clean()
        if self.data.get("attempt") != self.attempt or self.data.get("total") != str(self.total):
            self.add_error(
                None,
                ValidationError(
                    "Your order has changed since this page was opened. Look at the new total "
                    "below, then pay.",
                    code="changed",
                ),
            )
        return {}
