"""Live parts of HTML pages: what the tag ``{% live %}`` tells the page's script, and the middleware
that sends only the parts that the script fetches again.

May import the policy, the feed and the models. Knows nothing of websockets: a part names what to
follow, and the script follows it.
"""

from .messages import noticing_messages
from .middleware import LivePartMiddleware
from .part import PART_HEADER, Part, parts_of

__all__ = ["PART_HEADER", "LivePartMiddleware", "Part", "noticing_messages", "parts_of"]
