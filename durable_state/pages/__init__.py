"""Live parts of HTML pages: what the tag ``{% live %}`` tells a page,
and the middleware that sends only the parts that the page asks for again.

May look at the policy and the models; knows nothing of websockets: a part says what to follow, and
the page's script follows it.
"""

from .messages import noticing_messages
from .middleware import LivePartMiddleware
from .part import PART_HEADER, Part, parts_of

__all__ = ["PART_HEADER", "LivePartMiddleware", "Part", "noticing_messages", "parts_of"]
