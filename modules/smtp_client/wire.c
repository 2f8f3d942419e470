/*
 * wire.c - SMTP as text: reading offers, judging replies, writing commands.
 *
 * Called by session.c and transaction.c on the loop of the connection, and by
 * the unit tests and the fuzz target.  Pure but for the output buffer, which
 * belongs to its connection and grows to hold one pipelined group (MAIL, up to
 * a thousand RCPT, DATA).  Replies themselves are parsed by ga_reply_feed().
 */
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT_ROOM 1024		/* holds EHLO, and MAIL + RCPT + DATA of most messages */
#define OUT_KEEP 4096		/* an idle connection keeps no more than this */

static uint64_t
parse_size(struct ga_str s)
{
	uint64_t v = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return 0;
		if (v > (UINT64_MAX - 9) / 10)
			return UINT64_MAX;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	return v;
}

/* The next word of s, between blanks and '='. */
static bool
next_word(struct ga_str *s, struct ga_str *word)
{
	while (s->n > 0 && (*s->p == ' ' || *s->p == '\t' || *s->p == '=')) {
		s->p++;
		s->n--;
	}
	*word = (struct ga_str){ s->p, 0 };
	while (s->n > 0 && *s->p != ' ' && *s->p != '\t' && *s->p != '=') {
		s->p++;
		s->n--;
		word->n++;
	}
	return word->n > 0;
}

/* "AUTH=PLAIN LOGIN", from before RFC 2554. */
static bool
is_old_auth(struct ga_str word)
{
	return word.n > 5 && ga_str_caseeq((struct ga_str){ word.p, 5 }, GA_STR("AUTH="));
}

static void
parse_mechanisms(struct smtpc_offer *o, struct ga_str s)
{
	struct ga_str word;

	while (next_word(&s, &word)) {
		if (ga_str_caseeq(word, GA_STR("PLAIN")))
			o->ext |= SMTPC_AUTH_PLAIN;
		else if (ga_str_caseeq(word, GA_STR("LOGIN")))
			o->ext |= SMTPC_AUTH_LOGIN;
	}
}

/* RFC 9422: NAME=value between blanks; 1 to 6 digits in the two that we keep. */
static void
parse_limits(struct smtpc_offer *o, struct ga_str s)
{
	struct ga_str name, value;

	while (next_word(&s, &name) && next_word(&s, &value)) {
		uint64_t n = value.n <= 6 ? parse_size(value) : 0;

		if (ga_str_caseeq(name, GA_STR("RCPTMAX")))
			o->rcpt_max = (unsigned)n;
		else if (ga_str_caseeq(name, GA_STR("MAILMAX")))
			o->mail_max = (unsigned)n;
	}
}

static const struct { struct ga_str word; unsigned ext; } known[] = {
	{ { "PIPELINING", 10 }, SMTPC_PIPELINING },
	{ { "8BITMIME", 8 }, SMTPC_8BITMIME },
	{ { "SIZE", 4 }, SMTPC_SIZE },
	{ { "STARTTLS", 8 }, SMTPC_STARTTLS },
	{ { "SMTPUTF8", 8 }, SMTPC_SMTPUTF8 },
	{ { "DSN", 3 }, SMTPC_DSN },
	{ { "CHUNKING", 8 }, SMTPC_CHUNKING },
	{ { "BINARYMIME", 10 }, SMTPC_BINARYMIME },
	{ { "REQUIRETLS", 10 }, SMTPC_REQUIRETLS },
};

struct ga_str
smtpc_offer_text(const struct smtpc_offer *o, char to[SMTPC_OFFER_TEXT])
{
	size_t n = 0;

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		if ((o->ext & known[i].ext) == 0)
			continue;
		if (n > 0)
			to[n++] = ',';
		memcpy(to + n, known[i].word.p, known[i].word.n);
		n += known[i].word.n;
	}
	return (struct ga_str){ to, n };
}

static void
parse_keyword(struct smtpc_offer *o, struct ga_str line)
{
	struct ga_str word = line, rest = { line.p, 0 };
	const char *blank = line.n > 0 ? memchr(line.p, ' ', line.n) : NULL;

	if (blank != NULL) {
		word.n = (size_t)(blank - line.p);
		rest = ga_str_trim((struct ga_str){ blank, line.n - word.n });
	}
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		if (!ga_str_caseeq(word, known[i].word))
			continue;
		o->ext |= known[i].ext;
		if (known[i].ext == SMTPC_SIZE)
			o->size_limit = parse_size(rest);
	}
	if (ga_str_caseeq(word, GA_STR("AUTH")) || is_old_auth(word))
		parse_mechanisms(o, (struct ga_str){ line.p + 4, line.n - 4 });
	else if (ga_str_caseeq(word, GA_STR("LIMITS")))
		parse_limits(o, rest);
}

void
smtpc_offer_parse(struct smtpc_offer *o, const struct ga_reply_parser *r)
{
	*o = (struct smtpc_offer){ 0 };
	for (unsigned i = 1; i < r->lines; i++)
		parse_keyword(o, ga_str_trim(ga_reply_line(r, i)));
}

enum smtpc_kind
smtpc_kind(unsigned code)
{
	if (code == 421)
		return SMTPC_CLOSING;
	switch (code / 100) {
	case 2: return SMTPC_OK;
	case 3: return SMTPC_GO_ON;
	case 4: return SMTPC_TEMPORARY;
	case 5: return SMTPC_PERMANENT;
	default: return SMTPC_ODD;
	}
}

bool
smtpc_too_many(unsigned code, struct ga_str enhanced)
{
	if (code == 452)
		return enhanced.n == 0 || ga_str_eq(enhanced, GA_STR("4.5.3"));
	return code == 552 && ga_str_eq(enhanced, GA_STR("5.5.3"));
}

bool
smtpc_wants_helo(unsigned code)
{
	return smtpc_kind(code) == SMTPC_PERMANENT;
}

bool
smtpc_address_clean(struct ga_str a, bool *utf8)
{
	bool quoted = false;

	for (size_t i = 0; i < a.n; i++) {
		unsigned char c = (unsigned char)a.p[i];

		if (c < 0x20 || c == 0x7f)
			return false;
		if (c >= 0x80)
			*utf8 = true;
		if (quoted && c == '\\') {
			if (++i == a.n || (unsigned char)a.p[i] < 0x20 || a.p[i] == 0x7f)
				return false;
			if ((unsigned char)a.p[i] >= 0x80)
				*utf8 = true;
		} else if (c == '"') {
			quoted = !quoted;
		} else if (!quoted && (c == '<' || c == '>' || c == ' ')) {
			return false;
		}
	}
	return !quoted;
}

void
smtpc_out_free(struct smtpc_out *o)
{
	free(o->p);
	*o = (struct smtpc_out){ 0 };
}

void
smtpc_out_reset(struct smtpc_out *o)
{
	if (o->secret)
		explicit_bzero(o->p, o->n);
	o->secret = false;
	o->n = o->sent = o->logged = o->secret_at = o->secret_end = 0;
	if (o->room > OUT_KEEP)
		smtpc_out_free(o);
}

static void
out_put(struct smtpc_out *o, const char *p, size_t n)
{
	if (o->room - o->n < n) {
		size_t room = o->room > 0 ? o->room : OUT_ROOM;

		while (room - o->n < n)
			room *= 2;
		o->p = ga_xrealloc(o->p, room);
		o->room = room;
	}
	if (n > 0)
		memcpy(o->p + o->n, p, n);
	o->n += n;
}

static void
out_str(struct smtpc_out *o, struct ga_str s)
{
	out_put(o, s.p, s.n);
}

void
smtpc_out_command(struct smtpc_out *o, const char *verb, struct ga_str argument)
{
	out_str(o, ga_str_c(verb));
	if (argument.n > 0) {
		out_str(o, GA_STR(" "));
		out_str(o, argument);
	}
	out_str(o, GA_STR("\r\n"));
}

static void
out_xtext(struct smtpc_out *o, struct ga_str s)
{
	struct ga_pool *pool = ga_pool_new(0);

	out_str(o, ga_xtext_encode(pool, s));
	ga_pool_free(pool);
}

void
smtpc_out_credentials(struct smtpc_out *o, const char *before, struct ga_str secret)
{
	out_str(o, ga_str_c(before));
	o->secret_at = o->n;
	out_str(o, secret);
	o->secret_end = o->n;
	out_str(o, GA_STR("\r\n"));
	o->secret = true;
}

void
smtpc_out_mail(struct smtpc_out *o, const struct smtpc_mail *m)
{
	out_str(o, GA_STR("MAIL FROM:<"));
	out_str(o, m->sender);
	out_str(o, GA_STR(">"));
	if (m->size > 0) {
		char text[32];
		int n = snprintf(text, sizeof text, " SIZE=%llu", (unsigned long long)m->size);

		out_put(o, text, (size_t)n);
	}
	if (m->binary)
		out_str(o, GA_STR(" BODY=BINARYMIME"));
	else if (m->body_8bit)
		out_str(o, GA_STR(" BODY=8BITMIME"));
	if (m->utf8)
		out_str(o, GA_STR(" SMTPUTF8"));
	if (m->requiretls)
		out_str(o, GA_STR(" REQUIRETLS"));
	if (m->ret.n > 0) {
		out_str(o, GA_STR(" RET="));
		out_str(o, m->ret);
	}
	if (m->envid.n > 0) {
		out_str(o, GA_STR(" ENVID="));
		out_xtext(o, m->envid);
	}
	out_str(o, GA_STR("\r\n"));
}

static void
out_notify(struct smtpc_out *o, uint32_t notify)
{
	static const struct { uint32_t bit; const char *word; } words[] = {
		{ GA_NOTIFY_NEVER, "NEVER" }, { GA_NOTIFY_SUCCESS, "SUCCESS" },
		{ GA_NOTIFY_FAILURE, "FAILURE" }, { GA_NOTIFY_DELAY, "DELAY" },
	};
	const char *before = " NOTIFY=";

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if ((notify & words[i].bit) != 0) {
			out_str(o, ga_str_c(before));
			out_str(o, ga_str_c(words[i].word));
			before = ",";
		}
}

void
smtpc_out_rcpt(struct smtpc_out *o, const struct smtpc_rcpt *r)
{
	const char *type_end = r->orcpt.n > 0 ? memchr(r->orcpt.p, ';', r->orcpt.n) : NULL;

	out_str(o, GA_STR("RCPT TO:<"));
	out_str(o, r->recipient);
	out_str(o, GA_STR(">"));
	out_notify(o, r->notify);
	if (type_end != NULL) {
		size_t n = (size_t)(type_end + 1 - r->orcpt.p);

		out_str(o, GA_STR(" ORCPT="));
		out_put(o, r->orcpt.p, n);
		out_xtext(o, (struct ga_str){ r->orcpt.p + n, r->orcpt.n - n });
	}
	out_str(o, GA_STR("\r\n"));
}
