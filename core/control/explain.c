/*
 * explain.c - facts for `greenarrow explain`, as JSON.  See service/explain.h.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <greenarrow/service/explain.h>

void
ga_explain_say(struct json_object *facts, const struct ga_fact *fact, const char *fmt, ...)
{
	struct json_object *o = json_object_new_object();
	char *text = NULL, date[GA_DATE_ROOM];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	json_object_object_add(o, "fact", json_object_new_string(fact->what));
	json_object_object_add(o, "holds", json_object_new_boolean(fact->holds));
	json_object_object_add(o, "text", json_object_new_string(n < 0 ? "" : text));
	if (n >= 0)
		free(text);
	if (fact->where != NULL && fact->where[0] != '\0')
		json_object_object_add(o, "where", json_object_new_string(fact->where));
	if (fact->until_ms != 0)
		json_object_object_add(o, "until",
		    json_object_new_string(ga_date_rfc3339(fact->until_ms, date)));
	json_object_array_add(facts, o);
}
