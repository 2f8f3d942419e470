/*
 * report_filter.c - which records of a report are wanted: see report.h.
 *
 * A value is compared with a column as a whole, ASCII letters without case; in it
 *
 *	*		stands for any octets, also none
 *	@example.com	is all addresses of that domain, the same as *@example.com
 *
 * Values of one option are alternatives, different options must all match.  They are tried in the order of
 * the columns, so that a line is split no further than the first one that refuses it.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "report.h"

const struct report_filter_info report_filters[] = {
	{ "status", 0, FILTER_STATUS, COL_STATUS, "success, failure, failure_toolong, deferral or connmaxout" },
	{ "is-retry", 0, FILTER_YES_NO, COL_IS_RETRY, "1 for attempts after the first one, or 0" },
	{ "msguid", 0, FILTER_TEXT, COL_MSGUID, "of this message" },
	{ "recipient", 'r', FILTER_ADDRESS, COL_RECIPIENT, "to this address; @example.com for a domain, * for anything" },
	{ "sender", 'f', FILTER_ADDRESS, COL_SENDER, "from this return path; in the same way" },
	{ NULL, 'S', FILTER_ADDRESS, COL_SENDER, "the same as --sender" },
	{ "virtual-mta", 0, FILTER_MTA, COL_MTAID, "assigned to or sent by this VirtualMTA, a name or an mta_id" },
	{ "mtaid", 0, FILTER_TEXT, COL_MTAID, "assigned to this mta_id" },
	{ "sendid", 0, FILTER_TEXT, COL_SENDID, "of this SendID" },
	{ "listid", 0, FILTER_TEXT, COL_LISTID, "of this ListID" },
	{ "message", 0, FILTER_TEXT, COL_MESSAGE, "with this reply; *rate* where it has a word" },
	{ "outmtaid", 0, FILTER_TEXT, COL_OUTMTAID, "sent by this mta_id" },
	{ "outmtaid-ip", 0, FILTER_TEXT, COL_OUTMTAID_IP, "sent from this address" },
	{ "outmtaid-hostname", 0, FILTER_TEXT, COL_OUTMTAID_HOSTNAME, "sent with this name in EHLO" },
	{ "throttleid", 0, FILTER_TEXT, COL_THROTTLEID, "under the rule with this id" },
	{ "clicktrackingid", 0, FILTER_TEXT, COL_CLICKTRACKINGID, "with this id" },
	{ "mx-hostname", 0, FILTER_TEXT, COL_MX_HOSTNAME, "to this mail host" },
	{ "mx-ip", 0, FILTER_TEXT, COL_MX_IP, "to a mail host of this address" },
	{ "from-address", 0, FILTER_ADDRESS, COL_FROM_ADDRESS, "with this address in From" },
	{ "queue-fsync", 0, FILTER_TEXT, COL_QUEUE_FSYNC, "no: taken without a sync" },
};
const size_t report_nfilters = sizeof report_filters / sizeof report_filters[0];

/* One value of an option. */
struct value {
	struct value *next;
	struct ga_str pattern;
	bool wild;		/* there is a * in it */
};

/* One option, with its values. */
struct condition {
	struct condition *next;
	enum report_column column, other;	/* either of the two matches */
	struct value *values;
};

struct report_filter {
	struct ga_pool *pool;
	const struct report_mtas *mtas;
	struct condition *conditions;	/* by column */
};

/* --- patterns --- */

static unsigned char
fold(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* Each * takes as little as it can; only the last one that was met need ever take more. */
bool
report_wildcard(struct ga_str pattern, struct ga_str text)
{
	size_t p = 0, t = 0, star = SIZE_MAX, taken = 0;

	while (t < text.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			taken = t;
		} else if (p < pattern.n && fold(pattern.p[p]) == fold(text.p[t])) {
			p++;
			t++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			t = ++taken;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

/* The end of a text that all of "*@example.com" must have is compared first: nearly all lines fail there. */
static bool
value_matches(const struct value *v, struct ga_str text)
{
	struct ga_str end = { v->pattern.p + 1, v->pattern.n - 1 };

	if (!v->wild)
		return ga_str_caseeq(v->pattern, text);
	if (v->pattern.p[0] != '*' || memchr(end.p, '*', end.n) != NULL)
		return report_wildcard(v->pattern, text);
	return text.n >= end.n && ga_str_caseeq(end, (struct ga_str){ text.p + (text.n - end.n), end.n });
}

/* --- values that are given --- */

static const char *
check_status(const char *value)
{
	static const char *const known[] = { "success", "failure", "failure_toolong", "deferral", "connmaxout" };

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (report_wildcard(ga_str_c(value), ga_str_c(known[i])))
			return NULL;
	return "is none of success, failure, failure_toolong, deferral, connmaxout";
}

static const char *
check(enum report_filter_kind kind, const char *value)
{
	switch (kind) {
	case FILTER_ADDRESS:
		return *value == '\0' || strpbrk(value, "@*") != NULL ? NULL :
		    "is no address: a domain is written @example.com";
	case FILTER_STATUS:
		return check_status(value);
	case FILTER_YES_NO:
		return strcmp(value, "0") == 0 || strcmp(value, "1") == 0 ? NULL : "is neither 0 nor 1";
	default:
		return NULL;
	}
}

static bool
is_number(const char *value)
{
	return *value != '\0' && value[strspn(value, "0123456789")] == '\0';
}

static struct condition *
condition_of(struct report_filter *f, const struct report_filter_info *info)
{
	enum report_column other = info->kind == FILTER_MTA ? COL_OUTMTAID : info->column;
	struct condition **at = &f->conditions, *c;

	while (*at != NULL && ((*at)->other < other || ((*at)->other == other && (*at)->column < info->column)))
		at = &(*at)->next;
	if (*at != NULL && (*at)->column == info->column && (*at)->other == other)
		return *at;
	c = ga_alloc(f->pool, sizeof *c);
	*c = (struct condition){ .next = *at, .column = info->column, .other = other };
	*at = c;
	return c;
}

struct report_filter *
report_filter_new(struct ga_pool *pool, const struct report_mtas *mtas)
{
	struct report_filter *f = ga_alloc(pool, sizeof *f);

	*f = (struct report_filter){ .pool = pool, .mtas = mtas };
	return f;
}

const char *
report_filter_add(struct report_filter *f, size_t i, const char *value)
{
	const struct report_filter_info *info = &report_filters[i];
	const char *why = check(info->kind, value);
	struct condition *c;
	struct value *v;

	if (why == NULL && info->kind == FILTER_MTA && !is_number(value)) {
		value = report_mtas_number(f->mtas, value);
		why = value == NULL ? "is no VirtualMTA with an mta_id in the configuration, and no number" : NULL;
	}
	if (why != NULL)
		return why;
	c = condition_of(f, info);
	v = ga_alloc(f->pool, sizeof *v);
	v->pattern = ga_str_c(value);
	if (info->kind == FILTER_ADDRESS && *value == '@')
		v->pattern = ga_fmt(f->pool, "*%s", value);
	v->wild = memchr(v->pattern.p, '*', v->pattern.n) != NULL;
	v->next = c->values;
	c->values = v;
	return NULL;
}

/* --- records --- */

static bool
matches(const struct condition *c, struct ga_str text)
{
	for (const struct value *v = c->values; v != NULL; v = v->next)
		if (value_matches(v, text))
			return true;
	return false;
}

bool
report_filter_match(const struct report_filter *f, struct record *r)
{
	for (const struct condition *c = f->conditions; c != NULL; c = c->next)
		if (!matches(c, record_column(r, c->column)) &&
		    (c->other == c->column || !matches(c, record_column(r, c->other))))
			return false;
	return true;
}
