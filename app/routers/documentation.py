"""The interactive documentation of the API. The gateway serves it itself: an installation may have no internet, and a
script from elsewhere could steal the token that somebody pastes into the page."""

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from app.error_guide import page as error_page
from app.web_pages import page

router = APIRouter()

# The files of Swagger UI. The gateway uses nothing else of this package.
SWAGGER_UI = Path(fastapi_offline.__file__).with_name("static")
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Swagger UI sets styles of elements
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
ASSET_HEADERS = {"Cache-Control": "public, max-age=3600"}
# Addresses are relative, for a gateway below a path of its proxy.
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>IMAP gateway</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""
START = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  showExtensions: true,
  showCommonExtensions: true,
  validatorUrl: null,
})
"""


@router.get("/docs")
def get_documentation() -> Response:
    return Response(
        PAGE,
        media_type="text/html; charset=utf-8",
        headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY},
    )


@router.get("/docs/errors")
def get_errors() -> Response:
    return Response(error_page.html(), media_type="text/html; charset=utf-8", headers=page.HEADERS)


@router.get("/docs/start.js")
def get_start() -> Response:
    return Response(START, media_type="text/javascript", headers=ASSET_HEADERS)


@router.get("/docs/swagger-ui-bundle.js")
def get_script() -> Response:
    return FileResponse(
        SWAGGER_UI / "swagger-ui-bundle.js", media_type="text/javascript", headers=ASSET_HEADERS
    )


@router.get("/docs/swagger-ui.css")
def get_style() -> Response:
    return FileResponse(SWAGGER_UI / "swagger-ui.css", media_type="text/css", headers=ASSET_HEADERS)
