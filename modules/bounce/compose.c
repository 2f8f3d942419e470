/*
 * compose.c - a report as a message: for people, for programs, and what it is about.
 *
 * multipart/report of RFC 6522: a text, the delivery-status of RFC 3464, and the
 * original or its header.  What others said (replies, addresses) is made harmless: one
 * line, printable, US-ASCII.  When the address that it goes to is not ASCII the report
 * is one of RFC 6533.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bounce.h"

#define LINE_MAX_ 900		/* octets; RFC 5322 allows 998 */

struct writer {
	const struct bnc_letter *l;
	struct ga_body *body;
	struct ga_pool *pool;
	bool utf8;			/* RFC 6533: addresses as they are */
	char boundary[48];
};

static void
put(struct writer *w, struct ga_str s)
{
	ga_body_append(w->body, s.p, s.n);
}

static void GA_PRINTF(2, 3)
say(struct writer *w, const char *fmt, ...)
{
	char text[2048];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	if (n > 0)
		ga_body_append(w->body, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static bool
is_ascii(struct ga_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

static bool
is_printable(struct ga_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || (unsigned char)s.p[i] >= 0x7f)
			return false;
	return true;
}

/* For a line of the report: of at most LINE_MAX_ printable octets. */
static struct ga_str
clean(struct writer *w, struct ga_str s)
{
	struct ga_str c = is_printable(s) ? s : ga_escape(w->pool, s);

	if (c.n > LINE_MAX_)
		c.n = LINE_MAX_;
	return c;
}

/* --- addresses --- */

/* RFC 6533 section 3: utf-8-addr-xtext, each character beyond ASCII as \x{HEX}. */
static void
put_utf8_xtext(struct writer *w, struct ga_str a)
{
	for (size_t i = 0; i < a.n;) {
		unsigned char c = (unsigned char)a.p[i];
		unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
		uint32_t point = more == 0 ? c : c & (0x3fu >> more);

		if (more == 0 && c > 0x20 && c < 0x7f && c != '\\' && c != '+' && c != '=') {
			ga_body_append(w->body, &a.p[i++], 1);
			continue;
		}
		for (i++; more > 0 && i < a.n; more--, i++)
			point = point << 6 | ((unsigned char)a.p[i] & 0x3f);
		say(w, "\\x{%X}", (unsigned)point);
	}
}

static void
put_recipient(struct writer *w, struct ga_str a)
{
	if (is_ascii(a)) {
		say(w, "rfc822; ");
		put(w, clean(w, a));
	} else if (w->utf8) {
		say(w, "utf-8; ");
		put(w, a);
	} else {
		say(w, "utf-8; ");
		put_utf8_xtext(w, a);
	}
	say(w, "\r\n");
}

/* In the text and in To: an address that is not ASCII only where it may stand. */
static struct ga_str
shown(struct writer *w, struct ga_str a)
{
	return w->utf8 && !is_ascii(a) ? a : clean(w, a);
}

/* --- the header --- */

static const char *
subject(const struct bnc_letter *l)
{
	switch (l->kind) {
	case GA_REPORT_FAILED:
		return l->double_bounce ? "Undelivered mail without a sender" :
		    "Undelivered Mail Returned to Sender";
	case GA_REPORT_RELAYED: return "Mail Delivery Report (relayed)";
	case GA_REPORT_DELAYED: break;
	}
	return "Delayed Mail (still being tried)";
}

static bool
returns_8bit(const struct bnc_letter *l)
{
	return l->original != NULL && (l->message->flags & GA_MSG_8BIT) != 0;
}

static void
header(struct writer *w)
{
	const struct bnc_letter *l = w->l;
	char date[GA_DATE_ROOM];

	ga_mail_date((time_t)(l->now_ms / 1000), date);
	say(w, "Date: %s\r\nFrom: Mail Delivery System <MAILER-DAEMON@%s>\r\nTo: <", date, l->hostname);
	put(w, shown(w, l->to));
	say(w, ">\r\nSubject: %s\r\nMessage-ID: <%llu.%08x@%s>\r\nAuto-Submitted: auto-replied\r\n",
	    subject(l), (unsigned long long)l->now_ms, l->message_id, l->hostname);
	say(w, "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n"
	    " boundary=\"%s\"\r\n", w->boundary);
	if (w->utf8 || returns_8bit(l))
		say(w, "Content-Transfer-Encoding: 8bit\r\n");
	say(w, "\r\n");
}

/* --- the part for people --- */

static const char *
what_happened(const struct bnc_letter *l)
{
	switch (l->kind) {
	case GA_REPORT_FAILED:
		return "A message could not be delivered to the recipients below. It is not tried\r\n"
		    "any more.\r\n";
	case GA_REPORT_RELAYED:
		return "As asked, this tells that a message was delivered to the mail hosts of the\r\n"
		    "recipients below. Those hosts do not tell what they do with it.\r\n";
	case GA_REPORT_DELAYED:
		break;
	}
	return "A message could not be delivered to the recipients below so far.\r\n"
	    "It is tried again; nothing needs to be done.\r\n";
}

/* Each line of what was said, behind `before`. */
static void
put_lines(struct writer *w, struct ga_str text, const char *first, const char *before)
{
	while (text.n > 0) {
		const char *lf = memchr(text.p, '\n', text.n);
		size_t n = lf != NULL ? (size_t)(lf - text.p) : text.n;

		say(w, "%s", first);
		put(w, clean(w, ga_str_trim((struct ga_str){ text.p, n })));
		say(w, "\r\n");
		first = before;
		n += lf != NULL;
		text.p += n;
		text.n -= n;
	}
}

static void
text_part(struct writer *w)
{
	const struct bnc_letter *l = w->l;
	struct ga_str reply, mx;

	say(w, "--%s\r\nContent-Type: text/plain; charset=%s\r\n%s\r\n", w->boundary,
	    w->utf8 ? "utf-8" : "us-ascii", w->utf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	say(w, "This is the mail system at %s.\r\n\r\n%s", l->hostname, what_happened(l));
	if (l->double_bounce)
		say(w, "It has no sender who could be told.\r\n");
	for (unsigned i = 0; i < l->n; i++) {
		const struct ga_envelope *e = l->envelopes[i];

		say(w, "\r\n<");
		put(w, shown(w, e->recipient));
		say(w, ">\r\n");
		if (ga_attr_get(e->attrs, GA_ATTR_LAST_MX, &mx)) {
			say(w, "    ");
			put(w, clean(w, mx));
			say(w, " said:\r\n");
		}
		ga_attr_get(e->attrs, GA_ATTR_LAST_REPLY, &reply);
		put_lines(w, reply, "    ", "    ");
	}
	say(w, "\r\n");
}

/* --- the part for programs --- */

static void
date_field(struct writer *w, const char *name, uint64_t ms)
{
	char date[GA_DATE_ROOM];

	ga_mail_date((time_t)(ms / 1000), date);
	say(w, "%s: %s\r\n", name, date);
}

/* A host as "dns; name", an address as "dns; [192.0.2.1]". */
static void
mta_field(struct writer *w, const char *name, struct ga_str host)
{
	bool v6 = memchr(host.p, ':', host.n) != NULL, literal = v6;

	if (!v6)
		literal = strspn(ga_cstr(w->pool, host), "0123456789.") == host.n;
	say(w, "%s: dns; %s%s", name, literal ? "[" : "", v6 ? "IPv6:" : "");
	put(w, clean(w, host));
	say(w, "%s\r\n", literal ? "]" : "");
}

static void
message_fields(struct writer *w)
{
	const struct ga_message *m = w->l->message;
	struct ga_str v;

	if (ga_attr_get(m->attrs, GA_ATTR_ENVID, &v)) {
		say(w, "Original-Envelope-Id: ");
		put(w, clean(w, v));
		say(w, "\r\n");
	}
	mta_field(w, "Reporting-MTA", ga_str_c(w->l->hostname));
	if (ga_attr_get(m->attrs, GA_ATTR_CLIENT_ADDR, &v))
		mta_field(w, "Received-From-MTA", v);
	date_field(w, "Arrival-Date", m->accepted_ms);
}

static const char *
action(enum ga_report_kind kind)
{
	switch (kind) {
	case GA_REPORT_FAILED: return "failed";
	case GA_REPORT_RELAYED: return "relayed";
	case GA_REPORT_DELAYED: break;
	}
	return "delayed";
}

/* RFC 3463: its first digit has to agree with the action. */
static void
status_field(struct writer *w, const struct ga_envelope *e)
{
	static const char classes[] = { [GA_REPORT_FAILED] = '5', [GA_REPORT_RELAYED] = '2',
		[GA_REPORT_DELAYED] = '4' };
	enum ga_report_kind kind = w->l->kind;
	struct ga_str v;

	if ((e->flags & GA_ENV_EXPIRED) != 0)
		v = GA_STR("5.4.7");	/* delivery time expired */
	else if (!ga_attr_get(e->attrs, GA_ATTR_LAST_STATUS, &v) || v.n < 5 || !is_printable(v))
		v = GA_STR("x.0.0");
	say(w, "Status: %c%.*s\r\n", classes[kind], (int)(v.n - 1), v.p + 1);
}

/* A host's reply, or what we say ourselves. */
static void
diagnostic_fields(struct writer *w, const struct ga_envelope *e)
{
	struct ga_str reply, mx;
	bool remote = ga_attr_get(e->attrs, GA_ATTR_LAST_MX, &mx);

	if (remote)
		mta_field(w, "Remote-MTA", mx);
	if (ga_attr_get(e->attrs, GA_ATTR_LAST_REPLY, &reply) && reply.n > 0)
		put_lines(w, reply, remote ? "Diagnostic-Code: smtp; " :
		    "Diagnostic-Code: X-GreenArrow; ", " ");
}

static void
recipient_fields(struct writer *w, const struct ga_envelope *e)
{
	uint64_t last = ga_attr_u64(e->attrs, GA_ATTR_LAST_ATTEMPT, 0);
	struct ga_str v;

	say(w, "\r\n");
	if (ga_attr_get(e->attrs, GA_ATTR_ORCPT, &v)) {
		say(w, "Original-Recipient: ");
		put(w, clean(w, v));
		say(w, "\r\n");
	}
	say(w, "Final-Recipient: ");
	put_recipient(w, e->recipient);
	say(w, "Action: %s\r\n", action(w->l->kind));
	status_field(w, e);
	diagnostic_fields(w, e);
	if (last != 0)
		date_field(w, "Last-Attempt-Date", last);
	if (w->l->kind == GA_REPORT_DELAYED && w->l->expires_ms != 0)
		date_field(w, "Will-Retry-Until", w->l->expires_ms);
}

static void
status_part(struct writer *w)
{
	say(w, "--%s\r\nContent-Type: message/%sdelivery-status\r\n%s\r\n", w->boundary,
	    w->utf8 ? "global-" : "", w->utf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	message_fields(w);
	for (unsigned i = 0; i < w->l->n; i++)
		recipient_fields(w, w->l->envelopes[i]);
	say(w, "\r\n");
}

/* --- what it is about --- */

/* Of the first n octets those up to the end of a line: a header may be cut. */
static uint64_t
whole_lines(const struct ga_body *b, uint64_t n)
{
	uint64_t at = 0, end = 0;

	for (const struct ga_body_chunk *k = b->chunks; k != NULL && at < n; k = k->next) {
		size_t here = k->n < n - at ? k->n : (size_t)(n - at);
		const char *lf = memrchr(k->data, '\n', here);

		if (lf != NULL)
			end = at + (uint64_t)(lf + 1 - k->data);
		at += here;
	}
	return end;
}

static void
original_part(struct writer *w)
{
	const struct bnc_letter *l = w->l;
	uint64_t left;
	const char *type;

	if (l->original == NULL)
		return;
	left = l->whole ? l->octets : whole_lines(l->original, l->octets);
	if (w->utf8)
		type = l->whole ? "message/global" : "message/global-headers";
	else
		type = l->whole ? "message/rfc822" : "text/rfc822-headers";
	say(w, "--%s\r\nContent-Type: %s\r\n%s\r\n", w->boundary, type,
	    returns_8bit(l) ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	for (const struct ga_body_chunk *k = l->original->chunks; k != NULL && left > 0; k = k->next) {
		size_t n = k->n < left ? k->n : (size_t)left;

		ga_body_append(w->body, k->data, n);
		left -= n;
	}
	say(w, "\r\n");
}

/* Nobody who wrote the original may guess it. */
static void
make_boundary(struct writer *w)
{
	unsigned char random[16];
	size_t n = (size_t)snprintf(w->boundary, sizeof w->boundary, "=_");

	if (getentropy(random, sizeof random) != 0)
		abort();
	for (size_t i = 0; i < sizeof random; i++)
		n += (size_t)snprintf(w->boundary + n, sizeof w->boundary - n, "%02x", random[i]);
}

struct ga_body *
bnc_compose(const struct bnc_letter *l, uint32_t *header_size, uint32_t *flags)
{
	struct writer w = { .l = l, .body = ga_body_new(), .pool = ga_pool_new(0),
		.utf8 = !is_ascii(l->to) };

	make_boundary(&w);
	header(&w);
	*header_size = (uint32_t)w.body->size;
	text_part(&w);
	status_part(&w);
	original_part(&w);
	say(&w, "--%s--\r\n", w.boundary);
	*flags = GA_MSG_BOUNCE;
	if (w.utf8)
		*flags |= GA_MSG_SMTPUTF8;
	if (w.utf8 || returns_8bit(l))
		*flags |= GA_MSG_8BIT | GA_MSG_BODY_8BITMIME;
	if (l->original != NULL)
		*flags |= l->message->flags & GA_MSG_LONG_LINES;
	ga_pool_free(w.pool);
	return w.body;
}
