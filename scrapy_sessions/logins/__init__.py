"""Ready-made logins, each a :class:`~scrapy_sessions.SessionConfig`: by a form, or for a token."""

from scrapy_sessions.logins.config import LoginConfig
from scrapy_sessions.logins.credentials import Credentials
from scrapy_sessions.logins.form import FormLogin
from scrapy_sessions.logins.token import TokenLogin

__all__ = ["Credentials", "FormLogin", "LoginConfig", "TokenLogin"]
