/*
 * csv.c - lines as the accounting files of PowerMTA have them, for pipelines that read those.
 *
 * Type d: delivered; b: bounced, for good; t: will be tried again; tq: has not been tried, for
 * its limits.  The columns are PowerMTA's own of these names, and one at the end that says
 * when mail was taken with queue_fsync no.
 */
#include "delivery_log.h"

#include <string.h>

const char dl_csv_header[] = "type,timeLogged,timeQueued,orig,rcpt,orcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,bounceCat,"
    "srcType,srcMta,dlvType,dlvSourceIp,dlvDestinationIp,dlvEsmtpAvailable,dlvSize,vmta,jobId,envId,queueFsync";

static const struct { const char *type, *action; } kinds[] = {
	[GA_STATUS_SUCCESS] = { "d", "relayed" },
	[GA_STATUS_DEFERRAL] = { "t", "delayed" },
	[GA_STATUS_FAILURE] = { "b", "failed" },
	[GA_STATUS_FAILURE_TOOLONG] = { "b", "failed" },
	[GA_STATUS_CONNMAXOUT] = { "tq", "delayed" },
};

/* By the enhanced status code without its class; what ends in a dot is its beginning. */
static const struct { const char *code, *category; } categories[] = {
	{ "1.0", "bad-mailbox" }, { "1.10", "bad-domain" }, { "1.1", "bad-mailbox" }, { "1.2", "bad-domain" },
	{ "1.3", "bad-mailbox" }, { "1.6", "bad-mailbox" }, { "1.7", "invalid-sender" }, { "1.8", "invalid-sender" },
	{ "2.1", "inactive-mailbox" }, { "2.2", "quota-issues" }, { "2.3", "content-related" },
	{ "3.4", "content-related" }, { "4.1", "no-answer-from-host" }, { "4.2", "bad-connection" },
	{ "4.3", "routing-errors" }, { "4.4", "routing-errors" }, { "4.6", "routing-errors" },
	{ "4.7", "message-expired" }, { "5.", "protocol-errors" }, { "6.", "content-related" },
	{ "7.", "policy-related" },
};

static bool
begins(struct ga_str s, const char *with)
{
	size_t n = strlen(with);

	return s.n >= n && memcmp(s.p, with, n) == 0 && (with[n - 1] == '.' || s.n == n);
}

const char *
dl_bounce_category(const struct ga_ev_attempt *ev)
{
	struct ga_str code = ev->enhanced;

	if (ev->status == GA_STATUS_SUCCESS)
		return "";
	if (ev->status == GA_STATUS_FAILURE_TOOLONG)
		return "message-expired";
	if (code.n > 2) {
		code.p += 2;
		code.n -= 2;
	}
	for (size_t i = 0; i < sizeof categories / sizeof categories[0]; i++)
		if (begins(code, categories[i].code))
			return categories[i].category;
	return ev->status == GA_STATUS_FAILURE ? "other" : "";
}

static void
next(struct dl_line *l)
{
	dl_char(l, ',');
}

static void
field(struct dl_line *l, struct ga_str s)
{
	next(l);
	dl_text(l, s, DL_TEXT_MAX, DL_CSV_FIELD);
}

static struct ga_str
attribute(struct ga_str attrs, unsigned key)
{
	struct ga_str v = { "", 0 };

	ga_attr_get(attrs, key, &v);
	return v;
}

static void
put_who(struct dl_line *l, const struct dl_attempt *a)
{
	dl_raw(l, ga_str_c(kinds[a->ev->status].type));
	next(l);
	dl_time(l, a->now_us / 1000000);
	next(l);
	if (a->m != NULL)
		dl_time(l, a->ev->accepted_ms / 1000);
	field(l, a->ev->sender);
	field(l, a->ev->recipient);
	field(l, a->e != NULL ? attribute(a->e->attrs, GA_ATTR_ORCPT) : (struct ga_str){ "", 0 });
}

/* "mx.example.com (192.0.2.1)" */
static void
put_host(struct dl_line *l, struct ga_str name, struct ga_str ip)
{
	char buf[400];
	struct dl_line host = { buf, 0, sizeof buf };

	dl_raw(&host, name);
	if (ip.n > 0) {
		dl_raw(&host, ga_str_c(name.n > 0 ? " (" : "("));
		dl_raw(&host, ip);
		dl_char(&host, ')');
	}
	field(l, (struct ga_str){ buf, host.n });
}

static void
put_what(struct dl_line *l, const struct dl_attempt *a)
{
	char buf[DL_REPLY_MAX + 8];
	struct dl_line diag = { buf, 0, sizeof buf };

	field(l, ga_str_c(kinds[a->ev->status].action));
	field(l, a->ev->enhanced);
	if (a->ev->reply.n > 0)
		dl_raw(&diag, ga_str_c("smtp;"));
	dl_raw(&diag, a->ev->text);
	next(l);
	dl_text(l, (struct ga_str){ buf, diag.n }, sizeof buf, DL_CSV_FIELD);
	put_host(l, a->ev->mx_hostname, a->ev->mx_ip);
	field(l, ga_str_c(dl_bounce_category(a->ev)));
}

/* A report has no client. */
static void
put_source(struct dl_line *l, const struct dl_attempt *a)
{
	bool ours = a->m != NULL && (a->m->flags & GA_MSG_BOUNCE) != 0;

	field(l, ga_str_c(a->m == NULL ? "" : ours ? "bounce" : "smtp"));
	put_host(l, (struct ga_str){ "", 0 }, a->m != NULL ? attribute(a->m->attrs, GA_ATTR_CLIENT_ADDR) :
	    (struct ga_str){ "", 0 });
}

void
dl_csv(struct dl_line *l, const struct dl_attempt *a)
{
	put_who(l, a);
	put_what(l, a);
	put_source(l, a);
	field(l, ga_str_c("smtp"));
	field(l, a->ev->source_ip);
	field(l, a->ev->mx_ip);
	field(l, a->ev->extensions);
	next(l);
	if (a->m != NULL)
		dl_number(l, a->ev->size);
	field(l, a->ev->virtual_mta);
	field(l, a->ev->send_id);
	field(l, a->m != NULL ? attribute(a->m->attrs, GA_ATTR_ENVID) : (struct ga_str){ "", 0 });
	field(l, ga_str_c(a->ev->not_synced ? "no" : ""));
}
