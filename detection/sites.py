"""The sites as ingest knows them: in memory, because no request waits for the database."""

from typing import NamedTuple

from detection.models import DEFAULT_SITE_ID, Site


class KnownSite(NamedTuple):
    """A site's write key and who may use it. No origins: anyone."""

    pk: int
    key: str
    origins: frozenset[str]


class SiteDirectory:
    """Sites by key. `refresh` replaces the whole map at once, so readers need no lock."""

    def __init__(self) -> None:
        self._by_key: dict[str, KnownSite] = {}
        self._default: KnownSite | None = None
        self.loaded = False

    def refresh(self, sites: list[Site]) -> None:
        known = [KnownSite(site.pk, site.key, site.origins) for site in sites]
        self._by_key = {site.key: site for site in known}
        self._default = next((site for site in known if site.pk == DEFAULT_SITE_ID), None)
        self.loaded = True

    def by_key(self, key: str) -> KnownSite | None:
        return self._by_key.get(key)

    @property
    def default(self) -> KnownSite | None:
        """The one that needs no key where the server is open to this machine only."""
        return self._default
