"""The JSON formats that are tables over :mod:`ingest.formats.documents`, in the order of their registration."""

from ingest.formats.api_gateway import API_GATEWAY
from ingest.formats.azure import AZURE_APP_GATEWAY, AZURE_FRONT_DOOR
from ingest.formats.caddy import CADDY
from ingest.formats.cloudflare import CLOUDFLARE
from ingest.formats.cloudfront_json import CLOUDFRONT_JSON
from ingest.formats.cloudtrail import CLOUDTRAIL
from ingest.formats.documents import DocumentFormat
from ingest.formats.envoy_json import ENVOY_JSON
from ingest.formats.fastly import FASTLY
from ingest.formats.google_cloud import GCP_LB
from ingest.formats.nginx_json import NGINX_JSON
from ingest.formats.ocsf import OCSF
from ingest.formats.otlp import OTLP
from ingest.formats.traefik_json import TRAEFIK_JSON

__all__ = ["JSON_FORMATS"]

JSON_FORMATS: tuple[DocumentFormat, ...] = (
    NGINX_JSON,
    CADDY,
    TRAEFIK_JSON,
    ENVOY_JSON,
    CLOUDFLARE,
    FASTLY,
    GCP_LB,
    AZURE_FRONT_DOOR,
    AZURE_APP_GATEWAY,
    API_GATEWAY,
    CLOUDTRAIL,
    CLOUDFRONT_JSON,
    OCSF,
    OTLP,
)
