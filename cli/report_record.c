/*
 * report_record.c - a line of a delivery log as columns: see report.h.
 *
 * Lines with tabs are split no further than the last column that somebody asks for: a filter
 * that refuses by the recipient never looks at what is behind it.  Lines of delivery_log_format json are
 * parsed as a whole.
 */
#include "config.h"

#include <string.h>

#include "report.h"

const struct report_column_info report_columns[COLUMNS] = {
	[COL_TIMESTAMP] = { "timestamp", KIND_NUMBER },
	[COL_CHANNEL] = { "channel", KIND_TEXT },
	[COL_STATUS] = { "status", KIND_TEXT },
	[COL_IS_RETRY] = { "is_retry", KIND_NUMBER },
	[COL_MSGUID] = { "msguid", KIND_TEXT },
	[COL_RECIPIENT] = { "recipient", KIND_TEXT },
	[COL_SENDER] = { "sender", KIND_TEXT },
	[COL_MTAID] = { "mtaid", KIND_NUMBER },
	[COL_SENDID] = { "sendid", KIND_TEXT },
	[COL_LISTID] = { "listid", KIND_TEXT },
	[COL_INJECTED_TIME] = { "injected_time", KIND_NUMBER },
	[COL_MESSAGE] = { "message", KIND_TEXT },
	[COL_OUTMTAID] = { "outmtaid", KIND_NUMBER },
	[COL_OUTMTAID_IP] = { "outmtaid_ip", KIND_TEXT },
	[COL_OUTMTAID_HOSTNAME] = { "outmtaid_hostname", KIND_TEXT },
	[COL_SENDSLICEID] = { "sendsliceid", KIND_TEXT },
	[COL_THROTTLEID] = { "throttleid", KIND_TEXT },
	[COL_CLICKTRACKINGID] = { "clicktrackingid", KIND_TEXT },
	[COL_MX_HOSTNAME] = { "mx_hostname", KIND_TEXT },
	[COL_MX_IP] = { "mx_ip", KIND_TEXT },
	[COL_FROM_ADDRESS] = { "from_address", KIND_TEXT },
	[COL_HEADERS] = { "headers", KIND_OBJECT },
	[COL_MESSAGE_SIZE] = { "message_size", KIND_NUMBER },
	[COL_SMTP_TIMING] = { "smtp_timing", KIND_OBJECT },
	[COL_QUEUE_FSYNC] = { "queue_fsync", KIND_TEXT },
};

/* --- tabs --- */

static void
split_to(struct record *r, size_t column)
{
	while (r->n <= column && !r->ended) {
		const char *tab = memchr(r->rest.p, '\t', r->rest.n);
		size_t n = tab != NULL ? (size_t)(tab - r->rest.p) : r->rest.n;

		r->column[r->n++] = (struct ga_str){ r->rest.p, n };
		r->ended = tab == NULL;
		if (tab != NULL) {
			r->rest.p += n + 1;
			r->rest.n -= n + 1;
		}
	}
}

/* --- JSON --- */

struct json_object *
record_object(struct record *r, struct ga_str text)
{
	struct json_object *o;

	if (r->tokener == NULL) {
		r->tokener = json_tokener_new();
		json_tokener_set_flags(r->tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	}
	json_tokener_reset(r->tokener);
	o = text.n <= INT32_MAX ? json_tokener_parse_ex(r->tokener, text.p, (int)text.n) : NULL;
	if (json_object_is_type(o, json_type_object) && json_tokener_get_parse_end(r->tokener) == text.n)
		return o;
	json_object_put(o);
	return NULL;
}

static struct ga_str
member(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;
	size_t n;
	const char *p;

	if (!json_object_object_get_ex(o, name, &v) || v == NULL)
		return (struct ga_str){ "", 0 };
	if (json_object_is_type(v, json_type_string))
		return (struct ga_str){ json_object_get_string(v), (size_t)json_object_get_string_len(v) };
	p = json_object_to_json_string_length(v, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n);
	return (struct ga_str){ p, n };
}

/* --- either --- */

void
record_end(struct record *r)
{
	json_object_put(r->json);
	if (r->tokener != NULL)
		json_tokener_free(r->tokener);
	*r = (struct record){ 0 };
}

bool
record_read(struct record *r, struct ga_str line)
{
	json_object_put(r->json);
	r->json = NULL;
	r->raw = r->rest = line;
	r->n = 0;
	r->ended = false;
	if (line.n > 0 && line.p[0] == '{')
		r->json = record_object(r, line);
	return line.n > 0 && (line.p[0] != '{' || r->json != NULL);
}

struct ga_str
record_column(struct record *r, enum report_column c)
{
	if (r->json != NULL)
		return member(r->json, report_columns[c].name);
	if (r->n <= c)
		split_to(r, c);
	return r->n > c ? r->column[c] : (struct ga_str){ "", 0 };
}

bool
record_complete(struct record *r)
{
	if (r->json != NULL)
		return json_object_object_get_ex(r->json, report_columns[COL_RECIPIENT].name, NULL);
	split_to(r, COLUMNS - 1);
	return r->n >= COLUMNS_LEAST;
}
