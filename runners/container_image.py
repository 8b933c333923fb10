"""Reads the labels of a container image from its registry, without pulling it.

Speaks the registry HTTP API: a manifest, for a many-platform image an index before it, and the
configuration it names. Registries of Google get this machine's access token, others an anonymous
one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

_PLATFORM = ("linux", "amd64")
_TIMEOUT_S = 30.0
_INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_GOOGLE_REGISTRIES = (".pkg.dev", "gcr.io")


@dataclass(frozen=True, kw_only=True)
class ImageName:
    """The parts of an image's name.

    Attributes:
        registry: Host and port.
        repository: Path in the registry.
        reference: A tag, or a digest.
    """

    registry: str
    repository: str
    reference: str

    @classmethod
    def parse(cls, name: str) -> ImageName:
        """Returns the parts of a name, with Docker's defaults for those left out.

        Raises:
            ValueError: It is not the name of an image.

        >>> ImageName.parse("europe-west4-docker.pkg.dev/p/r/singsong:1").repository
        'p/r/singsong'
        >>> ImageName.parse("apache/beam").registry
        'registry-1.docker.io'
        """
        found = re.fullmatch(r"([\w.:/-]+?)(?::([\w.-]+))?(?:@(sha256:[0-9a-f]{64}))?", name)
        if not found or name.startswith("/") or "://" in name:
            raise ValueError(f"image must be REGISTRY/NAME:TAG, found {name!r}")
        head, _, rest = found[1].partition("/")
        reference = found[3] or found[2] or "latest"
        if rest and ("." in head or ":" in head or head == "localhost"):
            return cls(registry=head, repository=rest, reference=reference)
        repository = found[1] if rest else f"library/{found[1]}"
        return cls(registry="registry-1.docker.io", repository=repository, reference=reference)

    @property
    def url(self) -> str:
        """Where the registry answers: plain HTTP on this machine, as Docker does it."""
        here = self.registry.partition(":")[0] in ("localhost", "127.0.0.1")
        return f"{'http' if here else 'https'}://{self.registry}/v2/{self.repository}"


class ImageError(ValueError):
    """An image that is not there, may not be read, or has no variant for the workers."""


def read_image_labels(name: str) -> dict[str, str]:
    """Returns the labels of an image, of its variant for Linux on x86-64.

    Raises:
        ImageError: The registry does not answer, or the image is missing, may not be read or is
            for other machines.
    """
    image = ImageName.parse(name)
    registry = _Registry(image, name)
    accept = ", ".join((*_INDEX_TYPES, *_MANIFEST_TYPES))
    manifest = registry.get(f"manifests/{image.reference}", accept)
    if "manifests" in manifest:
        digest = _for_workers(manifest, name)
        manifest = registry.get(f"manifests/{digest}", ", ".join(_MANIFEST_TYPES))
    config = registry.get(f"blobs/{manifest['config']['digest']}", "*/*")
    built_for = (config.get("os"), config.get("architecture"))
    if built_for != _PLATFORM:
        raise ImageError(_wrong_platform(name, [built_for]))
    return dict(config.get("config", {}).get("Labels") or {})


def _for_workers(index: Mapping[str, Any], name: str) -> str:
    platforms = {}
    for entry in index["manifests"]:
        platform = entry.get("platform", {})
        platforms[platform.get("os"), platform.get("architecture")] = str(entry["digest"])
    if _PLATFORM not in platforms:
        raise ImageError(_wrong_platform(name, list(platforms)))
    return platforms[_PLATFORM]


def _wrong_platform(name: str, found: list[tuple[Any, Any]]) -> str:
    kinds = ", ".join("/".join(map(str, platform)) for platform in found)
    return (
        f"{name} is built for {kinds}, and the workers are {'/'.join(_PLATFORM)}: build it with "
        "`docker build --platform linux/amd64`"
    )


class _Registry:
    """Asks for things of one image, and for a token when the registry wants one."""

    def __init__(self, image: ImageName, name: str) -> None:
        self._image = image
        self._name = name
        self._session = requests.Session()

    def get(self, what: str, accept: str) -> dict[str, Any]:
        answer = self._ask(f"{self._image.url}/{what}", {"Accept": accept})
        if answer.status_code == requests.codes.unauthorized:
            token = self._token(answer.headers.get("WWW-Authenticate", ""))
            self._session.headers["Authorization"] = f"Bearer {token}"
            answer = self._ask(f"{self._image.url}/{what}", {"Accept": accept})
        if answer.status_code == requests.codes.not_found:
            raise ImageError(f"there is no image {self._name}: build it and push it first")
        if not answer.ok:
            raise self._refused(answer.status_code)
        content: dict[str, Any] = json.loads(answer.content)
        return content

    def _ask(self, url: str, headers: Mapping[str, str], **more: Any) -> requests.Response:
        try:
            return self._session.get(url, headers=headers, timeout=_TIMEOUT_S, **more)
        except requests.RequestException as error:
            raise ImageError(
                f"the registry of {self._name} does not answer ({type(error).__name__}): check the "
                "name of the image, or pass --skip-image-check"
            ) from error

    def _token(self, challenge: str) -> str:
        """Returns a token as the `WWW-Authenticate` header asks for it."""
        if self._image.registry.endswith(_GOOGLE_REGISTRIES):
            token = _google_token()
            if token is not None:
                return token
        asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if not challenge.startswith("Bearer ") or "realm" not in asked:
            raise self._refused(requests.codes.unauthorized)
        query = {key: asked[key] for key in ("service", "scope") if key in asked}
        answer = self._ask(asked["realm"], {}, params=query)
        if not answer.ok:
            raise self._refused(answer.status_code)
        content = answer.json()
        return str(content.get("token") or content["access_token"])

    def _refused(self, status: int) -> ImageError:
        return ImageError(
            f"{self._name} may not be read from here (HTTP {status}): run `gcloud auth "
            "application-default login` for a registry of Google, or pass --skip-image-check"
        )


def _google_token() -> str | None:
    import google.auth
    import google.auth.transport.requests

    try:
        credentials, _ = google.auth.default(
            scopes=["https://www.googleapis.com/auth/cloud-platform"]
        )
        credentials.refresh(google.auth.transport.requests.Request())
    except google.auth.exceptions.GoogleAuthError:
        return None
    token: str | None = credentials.token
    return token
