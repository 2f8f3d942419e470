/*
 * hvmail.c - the columns of a line, with tabs between them or as one JSON object.
 *
 * One table has the columns, their names and their order; both formats are walks over it.  A column
 * is a text of the event, or has a function that puts it into the line, and nothing when there is none.
 */
#include "delivery_log.h"

#include <string.h>

static const char *const statuses[] = {
	[GA_STATUS_SUCCESS] = "success",
	[GA_STATUS_DEFERRAL] = "deferral",
	[GA_STATUS_FAILURE] = "failure",
	[GA_STATUS_FAILURE_TOOLONG] = "failure_toolong",
	[GA_STATUS_CONNMAXOUT] = "connmaxout",
};

/* Text that is right in any format. */
static void
word(struct dl_line *l, const char *s)
{
	dl_raw(l, ga_str_c(s));
}

static void
put_timestamp(struct dl_line *l, const struct dl_attempt *a)
{
	dl_decimal(l, a->now_us, 6, 5);
}

/* Only to hosts: nothing is delivered on this machine. */
static void
put_channel(struct dl_line *l, const struct dl_attempt *a)
{
	(void)a;
	word(l, "remote");
}

static void
put_status(struct dl_line *l, const struct dl_attempt *a)
{
	word(l, statuses[a->ev->status]);
}

static void
put_is_retry(struct dl_line *l, const struct dl_attempt *a)
{
	dl_number(l, a->ev->attempts > 1);
}

static void
put_mtaid(struct dl_line *l, const struct dl_attempt *a)
{
	dl_number(l, a->ev->assigned_mta_id);
}

static void
put_outmtaid(struct dl_line *l, const struct dl_attempt *a)
{
	dl_number(l, a->ev->mta_id);
}

static void
put_injected_time(struct dl_line *l, const struct dl_attempt *a)
{
	if (a->m != NULL)
		dl_decimal(l, a->ev->accepted_ms, 3, 3);
}

static void
put_message_size(struct dl_line *l, const struct dl_attempt *a)
{
	if (a->m != NULL)
		dl_number(l, a->ev->size);
}

static void
put_headers(struct dl_line *l, const struct dl_attempt *a)
{
	dl_raw(l, a->headers);
}

static void
put_smtp_timing(struct dl_line *l, const struct dl_attempt *a)
{
	static const char *const names[GA_PHASES] = { "connect", "greeting", "ehlo", "tls", "auth", "mail", "rcpt",
		"data", "message", "dot" };
	char between = '{';

	for (unsigned i = 0; i < GA_PHASES; i++) {
		if (a->ev->phase_ms[i] == GA_NO_TIME)
			continue;
		dl_char(l, between);
		dl_char(l, '"');
		word(l, names[i]);
		word(l, "\":");
		dl_number(l, a->ev->phase_ms[i]);
		between = ',';
	}
	if (between == ',')
		dl_char(l, '}');
}

/* "ip2pd7": the limits are a rule's.  A domain without one, and a relay, have none. */
static void
put_throttleid(struct dl_line *l, const struct dl_attempt *a)
{
	struct ga_str key = a->ev->group_key;
	size_t i = 2;

	if (key.n < 3 || memcmp(key.p, "ip", 2) != 0)
		return;
	while (i < key.n && key.p[i] >= '0' && key.p[i] <= '9')
		i++;
	dl_raw(l, (struct ga_str){ key.p + i, key.n - i });
}

static void
put_nothing(struct dl_line *l, const struct dl_attempt *a)
{
	(void)l;
	(void)a;
}

static void
put_queue_fsync(struct dl_line *l, const struct dl_attempt *a)
{
	if (a->ev->not_synced)
		word(l, "no");
}

/* --- the columns --- */

enum kind { TEXT, WORD, NUMBER, OBJECT };
#define NAME(s) { s, sizeof s - 1 }
/* Text from outside: a member of the event. */
#define FIELD(name, member, max, how) \
	{ NAME(name), TEXT, NULL, offsetof(struct ga_ev_attempt, member), max, how }
#define PUT(name, kind) { NAME(#name), kind, put_##name, 0, 0, DL_PLAIN }
static const struct column {
	struct ga_str name;
	enum kind kind;
	void (*put)(struct dl_line *, const struct dl_attempt *);
	size_t member, max;
	enum dl_quote how;
} columns[] = {
	PUT(timestamp, NUMBER),
	PUT(channel, WORD),
	PUT(status, WORD),
	PUT(is_retry, NUMBER),
	FIELD("msguid", msguid, DL_TEXT_MAX, DL_PLAIN),
	FIELD("recipient", recipient, DL_TEXT_MAX, DL_PLAIN),
	FIELD("sender", sender, DL_TEXT_MAX, DL_PLAIN),
	PUT(mtaid, NUMBER),
	FIELD("sendid", send_id, DL_TEXT_MAX, DL_LOWER),
	FIELD("listid", list_id, DL_TEXT_MAX, DL_LOWER),
	PUT(injected_time, NUMBER),
	FIELD("message", text, DL_REPLY_MAX, DL_PLAIN),
	PUT(outmtaid, NUMBER),
	FIELD("outmtaid_ip", source_ip, DL_TEXT_MAX, DL_PLAIN),
	FIELD("outmtaid_hostname", source_hostname, DL_TEXT_MAX, DL_PLAIN),
	{ NAME("sendsliceid"), WORD, put_nothing, 0, 0, DL_PLAIN },
	PUT(throttleid, WORD),
	FIELD("clicktrackingid", click_tracking_id, DL_TEXT_MAX, DL_PLAIN),
	FIELD("mx_hostname", mx_hostname, DL_TEXT_MAX, DL_PLAIN),
	FIELD("mx_ip", mx_ip, DL_TEXT_MAX, DL_PLAIN),
	FIELD("from_address", from_address, DL_TEXT_MAX, DL_PLAIN),
	PUT(headers, OBJECT),
	PUT(message_size, NUMBER),
	PUT(smtp_timing, OBJECT),
	PUT(queue_fsync, WORD),
};
#define NCOLUMNS (sizeof columns / sizeof columns[0])

static void
put_field(struct dl_line *l, const struct column *c, const struct dl_attempt *a, enum dl_quote quote)
{
	const struct ga_str *s = (const void *)((const char *)a->ev + c->member);

	dl_text(l, *s, c->max, c->how | quote);
}

void
dl_hvmail(struct dl_line *l, const struct dl_attempt *a)
{
	for (size_t i = 0; i < NCOLUMNS; i++) {
		if (i > 0)
			dl_char(l, '\t');
		if (columns[i].put != NULL)
			columns[i].put(l, a);
		else
			put_field(l, &columns[i], a, DL_PLAIN);
	}
}

/* What is no text and has no value is null. */
static void
put_value(struct dl_line *l, const struct column *c, const struct dl_attempt *a)
{
	size_t before = l->n;

	if (c->kind == WORD)
		dl_char(l, '"');
	if (c->put != NULL)
		c->put(l, a);
	else
		put_field(l, c, a, DL_JSON_STRING);
	if (c->kind == WORD)
		dl_char(l, '"');
	if (l->n == before)
		word(l, "null");
}

void
dl_json(struct dl_line *l, const struct dl_attempt *a)
{
	for (size_t i = 0; i < NCOLUMNS; i++) {
		dl_char(l, i == 0 ? '{' : ',');
		dl_char(l, '"');
		dl_raw(l, columns[i].name);
		word(l, "\":");
		put_value(l, &columns[i], a);
	}
	dl_char(l, '}');
}
