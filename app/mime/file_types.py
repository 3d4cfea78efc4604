"""The file extension for each media type, and the media type for each extension.

It is a table of our own: `mimetypes` reads files of the host, so a mail would get different names on different hosts.
"""

UNKNOWN = "application/octet-stream"
EXTENSIONS = {
    "application/csv": "csv", "application/epub+zip": "epub", "application/gzip": "gz",
    "application/ics": "ics", "application/isdoc": "isdoc", "application/javascript": "js",
    "application/json": "json", "application/ms-tnef": "dat", "application/msword": "doc",
    "application/octet-stream": "bin", "application/pdf": "pdf", "application/pgp-encrypted": "asc",
    "application/pgp-keys": "asc", "application/pgp-signature": "asc", "application/pkcs7-mime": "p7m",
    "application/pkcs7-signature": "p7s", "application/pkix-cert": "cer", "application/postscript": "ps",
    "application/rtf": "rtf", "application/sql": "sql", "application/sqlite3": "sqlite",
    "application/timestamp-reply": "tsr", "application/vnd.etsi.asic-e+zip": "asice",
    "application/vnd.ms-excel": "xls", "application/vnd.ms-excel.sheet.macroenabled.12": "xlsm",
    "application/vnd.ms-outlook": "msg", "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.ms-tnef": "dat", "application/vnd.ms-word": "doc",
    "application/vnd.ms-word.document.macroenabled.12": "docm",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.presentationml.slideshow": "ppsx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.rar": "rar", "application/x-7z-compressed": "7z", "application/x-bzip2": "bz2",
    "application/x-gzip": "gz", "application/x-isdoc": "isdoc", "application/x-javascript": "js",
    "application/x-msword": "doc", "application/x-pdf": "pdf", "application/x-pkcs12": "p12",
    "application/x-pkcs7-mime": "p7m", "application/x-pkcs7-signature": "p7s", "application/x-rar": "rar",
    "application/x-rar-compressed": "rar", "application/x-tar": "tar", "application/x-x509-ca-cert": "crt",
    "application/x-xz": "xz", "application/x-zip-compressed": "zip", "application/xhtml+xml": "xhtml",
    "application/xml": "xml", "application/yaml": "yaml", "application/zip": "zip",
    "application/zstd": "zst", "audio/aac": "aac", "audio/amr": "amr", "audio/midi": "mid",
    "audio/mp3": "mp3", "audio/mp4": "m4a", "audio/mpeg": "mp3", "audio/ogg": "ogg", "audio/wav": "wav",
    "audio/webm": "weba", "audio/x-m4a": "m4a", "audio/x-wav": "wav", "font/otf": "otf", "font/ttf": "ttf",
    "image/avif": "avif", "image/bmp": "bmp", "image/gif": "gif", "image/heic": "heic",
    "image/heif": "heif", "image/jpeg": "jpg", "image/jpg": "jpg", "image/pjpeg": "jpg", "image/png": "png",
    "image/svg+xml": "svg", "image/tiff": "tif", "image/vnd.dwg": "dwg", "image/vnd.microsoft.icon": "ico",
    "image/webp": "webp", "image/x-icon": "ico", "image/x-ms-bmp": "bmp", "image/x-png": "png",
    "message/delivery-status": "txt", "message/disposition-notification": "txt", "message/global": "eml",
    "message/partial": "eml", "message/rfc822": "eml", "text/asciidoc": "adoc", "text/calendar": "ics",
    "text/comma-separated-values": "csv", "text/css": "css", "text/csv": "csv", "text/directory": "vcf",
    "text/enriched": "txt", "text/html": "html", "text/javascript": "js", "text/json": "json",
    "text/log": "log", "text/markdown": "md", "text/plain": "txt", "text/rfc822-headers": "txt",
    "text/richtext": "rtx", "text/rtf": "rtf", "text/sgml": "sgml", "text/tab-separated-values": "tsv",
    "text/troff": "roff", "text/vcard": "vcf", "text/vtt": "vtt", "text/x-amp-html": "html",
    "text/x-c++src": "cpp", "text/x-chdr": "h", "text/x-csrc": "c", "text/x-csv": "csv",
    "text/x-diff": "diff", "text/x-ini": "ini", "text/x-java": "java", "text/x-log": "log",
    "text/x-markdown": "md", "text/x-patch": "patch", "text/x-python": "py", "text/x-rst": "rst",
    "text/x-script.python": "py", "text/x-sh": "sh", "text/x-shellscript": "sh", "text/x-sql": "sql",
    "text/x-tex": "tex", "text/x-vcard": "vcf", "text/x-web-markdown": "md", "text/x-yaml": "yaml",
    "text/xhtml": "html", "text/xml": "xml", "text/yaml": "yaml", "video/3gpp": "3gp", "video/mp4": "mp4",
    "video/mpeg": "mpg", "video/quicktime": "mov", "video/webm": "webm", "video/x-ms-wmv": "wmv",
    "video/x-msvideo": "avi",
}  # fmt: skip
# If several types share an extension, the shortest one counts that does not begin with x-. Types of messages do not count.
_TYPES: dict[str, str] = {}
for _type in sorted(EXTENSIONS, key=lambda each: ("/x-" in each, len(each), each)):
    _TYPES.setdefault(EXTENSIONS[_type], _type)
_TYPES |= {
    "txt": "text/plain", "eml": "message/rfc822", "xml": "application/xml", "json": "application/json",
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "htm": "text/html", "html": "text/html", "tiff": "image/tiff",
    "rtf": "application/rtf", "doc": "application/msword", "zip": "application/zip", "p7m": "application/pkcs7-mime",
    "ics": "text/calendar", "vcf": "text/vcard", "csv": "text/csv", "mp3": "audio/mpeg", "bin": UNKNOWN,
}  # fmt: skip


def type_of(name: str) -> str:
    """The media type of a file by the extension of its name; `application/octet-stream` if the extension is unknown."""
    return _TYPES.get(name.rpartition(".")[2].lower() if "." in name else "", UNKNOWN)
