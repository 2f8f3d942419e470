/*
 * kumo.c - lines as KumoMTA logs them, a JSON object each, for pipelines that read those.
 *
 * Names and nesting are KumoMTA's; what we have no value for is left out or empty.  response is what
 * the host said, or what we say where it did not: then with a code of our own, 400 or 500.
 */
#include "delivery_log.h"

#include <string.h>

static const struct { const char *type; unsigned code; } kinds[] = {
	[GA_STATUS_SUCCESS] = { "Delivery", 250 },
	[GA_STATUS_DEFERRAL] = { "TransientFailure", 400 },
	[GA_STATUS_FAILURE] = { "Bounce", 500 },
	[GA_STATUS_FAILURE_TOOLONG] = { "Expiration", 500 },
	[GA_STATUS_CONNMAXOUT] = { "Delayed", 400 },
};

/* before: what stands between this value and the one before it, with its name. */
static void
text(struct dl_line *l, const char *before, struct ga_str s, size_t max)
{
	dl_raw(l, ga_str_c(before));
	dl_text(l, s, max, DL_JSON_STRING);
}

static void
number(struct dl_line *l, const char *before, uint64_t v)
{
	dl_raw(l, ga_str_c(before));
	dl_number(l, v);
}

static void
decimal(struct dl_line *l, const char *before, uint64_t v, unsigned scale)
{
	dl_raw(l, ga_str_c(before));
	dl_decimal(l, v, scale, 3);
}

/* What follows code and enhanced code. */
static struct ga_str
words_of(const struct ga_ev_attempt *ev)
{
	struct ga_str s = ev->text, code = ev->enhanced;

	if (ev->code != 0 && s.n >= 4) {
		s.p += 4;
		s.n -= 4;
	}
	if (code.n > 0 && s.n > code.n && memcmp(s.p, code.p, code.n) == 0) {
		s.p += code.n + 1;
		s.n -= code.n + 1;
	}
	return s;
}

/* Hosts may say 5.01.1; a number of JSON has no zeros in front. */
static void
put_enhanced(struct dl_line *l, struct ga_str code)
{
	static const char *const names[] = { "{\"class\":", ",\"subject\":", ",\"detail\":" };
	size_t part = 0;
	bool begins = true;

	dl_raw(l, ga_str_c(",\"enhanced_code\":"));
	if (code.n == 0) {
		dl_raw(l, ga_str_c("null"));
		return;
	}
	dl_raw(l, ga_str_c(names[0]));
	for (size_t i = 0; i < code.n; i++) {
		if (code.p[i] == '.' && ++part < sizeof names / sizeof names[0]) {
			dl_raw(l, ga_str_c(names[part]));
			begins = true;
		} else if (!begins || code.p[i] != '0' || i + 1 == code.n || code.p[i + 1] == '.') {
			dl_char(l, code.p[i]);
			begins = false;
		}
	}
	dl_char(l, '}');
}

static void
put_response(struct dl_line *l, const struct ga_ev_attempt *ev)
{
	number(l, ",\"response\":{\"code\":", ev->code != 0 ? ev->code : kinds[ev->status].code);
	put_enhanced(l, ev->enhanced);
	text(l, ",\"content\":", words_of(ev), DL_REPLY_MAX);
	dl_raw(l, ga_str_c(",\"command\":null}"));
}

static void
put_places(struct dl_line *l, const struct ga_ev_attempt *ev)
{
	text(l, ",\"queue\":", ev->domain, DL_TEXT_MAX);
	text(l, ",\"site\":", ev->group_key, DL_TEXT_MAX);
	if (ev->mx_ip.n == 0) {
		dl_raw(l, ga_str_c(",\"peer_address\":null"));
	} else {
		text(l, ",\"peer_address\":{\"name\":", ev->mx_hostname, DL_TEXT_MAX);
		text(l, ",\"addr\":", ev->mx_ip, DL_TEXT_MAX);
		dl_char(l, '}');
	}
	text(l, ",\"egress_pool\":", ev->virtual_mta, DL_TEXT_MAX);
	text(l, ",\"egress_source\":", ev->virtual_mta, DL_TEXT_MAX);
	if (ev->source_ip.n > 0) {
		text(l, ",\"source_address\":{\"address\":", ev->source_ip, DL_TEXT_MAX);
		dl_char(l, '}');
	}
}

static void
put_meta(struct dl_line *l, const struct dl_attempt *a)
{
	text(l, ",\"meta\":{\"msguid\":", a->ev->msguid, DL_TEXT_MAX);
	text(l, ",\"sendid\":", a->ev->send_id, DL_TEXT_MAX);
	text(l, ",\"listid\":", a->ev->list_id, DL_TEXT_MAX);
	if (a->ev->not_synced)
		dl_raw(l, ga_str_c(",\"queue_fsync\":\"no\""));
	dl_raw(l, ga_str_c("},\"headers\":"));
	dl_raw(l, a->headers.n > 0 ? a->headers : ga_str_c("{}"));
}

void
dl_kumo(struct dl_line *l, const struct dl_attempt *a)
{
	static const char digits[] = "0123456789abcdef";
	const struct ga_ev_attempt *ev = a->ev;
	const char *category = dl_bounce_category(ev);
	char id[16];

	for (unsigned i = 0; i < sizeof id; i++)
		id[i] = digits[ev->envelope_id >> (60 - 4 * i) & 15];
	text(l, "{\"type\":", ga_str_c(kinds[ev->status].type), DL_TEXT_MAX);
	text(l, ",\"id\":", (struct ga_str){ id, sizeof id }, DL_TEXT_MAX);
	text(l, ",\"sender\":", ev->sender, DL_TEXT_MAX);
	text(l, ",\"recipient\":", ev->recipient, DL_TEXT_MAX);
	put_places(l, ev);
	number(l, ",\"size\":", ev->size);
	put_response(l, ev);
	number(l, ",\"timestamp\":", a->now_us / 1000000);
	decimal(l, ",\"event_time\":", a->now_us, 6);
	number(l, ",\"created\":", ev->accepted_ms / 1000);
	decimal(l, ",\"created_time\":", ev->accepted_ms, 3);
	number(l, ",\"num_attempts\":", ev->attempts - 1);
	text(l, ",\"bounce_classification\":", ga_str_c(category[0] != '\0' ? category : "Uncategorized"), DL_TEXT_MAX);
	dl_raw(l, ga_str_c(",\"feedback_report\":null,\"delivery_protocol\":\"ESMTP\",\"reception_protocol\":\"ESMTP\""));
	put_meta(l, a);
	dl_char(l, '}');
}
