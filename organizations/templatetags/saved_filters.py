"""The strip of saved filters above a list."""

from typing import Any

from django import template

from organizations.people import saved_filters as step

register = template.Library()


@register.simple_tag(takes_context=True)
def saved_filters(context: template.RequestContext) -> dict[str, Any] | None:
    """What the visitor saved of this list, and what the list shows now; None where there is nothing to offer."""
    request, listed = context.get("request"), context.get("cl")
    if request is None or listed is None or listed.is_popup or "X-Refresh" in request.headers:
        return None
    page = f"admin:{listed.opts.app_label}_{listed.opts.model_name}_changelist"
    query = step.kept(request.GET)
    rows = step.of_page(request.user.pk, page)
    return {"page": page, "query": query, "rows": rows, "is_new": query and query not in {row.query for row in rows}}
