/*
 * source_session.c - one connection slot of ga_smtp_source.
 *
 * Started by source.c, driven by the callbacks of wire.h and by its own retry
 * timer, all on the only loop.  A slot connects, says EHLO (and STARTTLS), sends
 * messages until there are none left or its share of a connection is used up,
 * and quits; when the connection is lost it connects again.
 *
 * Every command sent puts an entry into a ring; every reply takes the oldest one
 * out and runs its handler.  So one code serves strict alternation, a grouped
 * envelope (MAIL RCPT DATA in one send), and chained messages (RFC 2920 allows
 * the next envelope in the same group as the end of a message).  At most two
 * transactions are under way: `waiting` for the reply to its end of DATA, and
 * `sending`, whose envelope or content is on its way.
 *
 * Known limit: certificates are not checked.
 */
#include "source.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define INPUT_MAX 8192
/* The content goes to the socket in pieces of this size. */
#define BODY_PIECE 65536
#define COMMAND_MAX 1024

static void begin_message(struct src_session *);
static void connect_now(struct src_session *);

static const char *const stage_name[X_KINDS] = {
	[X_BANNER] = "banner", [X_EHLO] = "ehlo", [X_STARTTLS] = "starttls", [X_MAIL] = "mail",
	[X_RCPT] = "rcpt", [X_DATA] = "data", [X_EOM] = "eom", [X_RSET] = "rset",
	[X_QUIT] = "quit",
};

static void
expect(struct src_session *s, enum src_expect what)
{
	s->expect[(s->expect_at + s->expect_len++) % s->ring] = what;
}

static void
send_command(struct src_session *s, const char *text, enum src_expect what)
{
	wire_puts(&s->w, text);
	wire_puts(&s->w, "\r\n");
	expect(s, what);
}

/* The slot has nothing more to do. */
static void
finish(struct src_session *s)
{
	if (s->finished)
		return;
	s->finished = true;
	if (--s->src->live == 0)
		ev_break(EV_DEFAULT_UC_ EVBREAK_ALL);
}

/* Close; what was under way is lost, or of unknown fate once its end was sent. */
static void
disconnect(struct src_session *s, const char *why)
{
	struct source *src = s->src;

	if (s->connected)
		src->open--;
	s->connected = false;
	wire_close(&s->w);
	if (s->waiting.active)
		src_unknown(src, &s->waiting);
	if (s->sending.active && !s->sending.failed)
		src_failed(src, 0, "lost", why);
	s->waiting.active = s->sending.active = s->in_body = false;
	s->expect_len = 0;
}

static void
reconnect_later(struct src_session *s)
{
	if (s->src->stop) {
		finish(s);
		return;
	}
	ev_timer_set(&s->retry, (double)s->src->opt.retry_us / 1e6, 0.);
	ev_timer_start(EV_DEFAULT_UC_ &s->retry);
}

static void
on_retry(EV_P_ ev_timer *t, int revents)
{
	(void)EV_A;
	(void)revents;
	connect_now(t->data);
}

/* The number of the next message, unless there are none left. */
static bool
take_number(struct source *src, uint64_t *seq)
{
	if (!src->stop && src->opt.messages && src->next_seq >= src->opt.messages)
		src->stop = true;
	if (src->stop)
		return false;
	*seq = src->next_seq++;
	return true;
}

static void
send_hello(struct src_session *s)
{
	wire_puts(&s->w, "EHLO ");
	send_command(s, s->src->opt.helo, X_EHLO);
}

/* The envelope, as commands */

static void
send_mail(struct src_session *s)
{
	struct source *src = s->src;
	char cmd[COMMAND_MAX], size[64];

	src_command(src, "MAIL FROM", src->opt.from, s->sending.seq, 0, cmd, sizeof cmd);
	wire_puts(&s->w, cmd);
	if (s->can_size) {
		snprintf(size, sizeof size, " SIZE=%zu", src->content.size);
		wire_puts(&s->w, size);
	}
	send_command(s, s->can_8bit && src->content.eight_bit ? " BODY=8BITMIME" : "", X_MAIL);
}

static void
send_rcpt(struct src_session *s)
{
	char cmd[COMMAND_MAX];

	src_command(s->src, "RCPT TO", s->src->opt.to, s->sending.seq, s->rcpts_sent++, cmd,
		sizeof cmd);
	send_command(s, cmd, X_RCPT);
}

/* The next command of the envelope, when they go one at a time. */
static void
send_next(struct src_session *s)
{
	if (s->rcpts_sent < s->src->opt.recipients)
		send_rcpt(s);
	else if (s->sending.ok_rcpts)
		send_command(s, "DATA", X_DATA);
	else
		send_command(s, "RSET", X_RSET);
}

static void
send_envelope(struct src_session *s)
{
	send_mail(s);
	if (!s->can_pipeline)
		return;
	while (s->rcpts_sent < s->src->opt.recipients)
		send_rcpt(s);
	send_command(s, "DATA", X_DATA);
}

static bool
used_up(const struct src_session *s)
{
	uint64_t most = s->src->opt.per_connection;

	return most && s->on_connection >= most;
}

/* Start the next message, or take leave when nothing is under way. */
static void
begin_message(struct src_session *s)
{
	uint64_t seq;

	if (used_up(s) || !take_number(s->src, &seq)) {
		if (!s->waiting.active)
			send_command(s, "QUIT", X_QUIT);
		return;
	}
	if (!s->src->first_us)
		s->src->first_us = wire_now_us();
	s->on_connection++;
	s->sending = (struct src_txn){ .active = true, .seq = seq };
	s->rcpts_sent = 0;
	send_envelope(s);
}

/* Content */

static void
end_body(struct src_session *s)
{
	s->in_body = false;
	s->waiting = s->sending;
	s->sending.active = false;
	expect(s, X_EOM);
	if (s->src->pipelining == PIPE_CHAIN && s->can_pipeline)
		begin_message(s);
	s->waiting.eod_us = wire_now_us();
}

static void
pump_body(struct src_session *s)
{
	const struct src_content *c = &s->src->content;
	size_t n;

	while (s->in_body && wire_unsent(&s->w) < BODY_PIECE) {
		n = c->rest_len - s->body_at;
		if (n > BODY_PIECE)
			n = BODY_PIECE;
		wire_put(&s->w, c->rest + s->body_at, n);
		s->body_at += n;
		if (s->body_at == c->rest_len)
			end_body(s);
		wire_flush(&s->w);
	}
}

static void
begin_body(struct src_session *s)
{
	char head[SRC_HEAD_MAX];

	wire_put(&s->w, head, src_head(s->src, s->sending.seq, head));
	s->body_at = 0;
	s->in_body = true;
	pump_body(s);
}

/* Replies, by the command they answer */

static void
refused(struct src_session *s, enum src_expect what, const struct src_reply *r)
{
	if (!s->sending.failed)
		src_failed(s->src, r->code, stage_name[what], r->text);
	s->sending.failed = true;
}

/* The session cannot go on; try again on a new connection. */
static void
give_up(struct src_session *s, enum src_expect what, const struct src_reply *r)
{
	src_problem(s->src, r->code, stage_name[what], r->text);
	disconnect(s, r->text);
	reconnect_later(s);
}

static void
on_banner(struct src_session *s, const struct src_reply *r)
{
	if (r->code == 220)
		send_hello(s);
	else
		give_up(s, X_BANNER, r);
}

static void
note_capability(struct src_session *s, const char *line)
{
	const char *word;

	if (strlen(line) < 5)
		return;
	word = line + 4;
	if (!strcasecmp(word, "PIPELINING"))
		s->can_pipeline = s->src->pipelining != PIPE_NO;
	else if (!strcasecmp(word, "STARTTLS"))
		s->can_starttls = true;
	else if (!strcasecmp(word, "8BITMIME"))
		s->can_8bit = true;
	else if (!strncasecmp(word, "SIZE", 4))
		s->can_size = true;
}

static void
on_ehlo(struct src_session *s, const struct src_reply *r)
{
	if (r->code != 250)
		give_up(s, X_EHLO, r);
	else if (s->src->opt.starttls && !s->w.tls && s->can_starttls)
		send_command(s, "STARTTLS", X_STARTTLS);
	else if (s->src->opt.starttls && !s->w.tls)
		give_up(s, X_STARTTLS, &(struct src_reply){ .text = "STARTTLS is not offered" });
	else
		begin_message(s);
}

static void
on_starttls(struct src_session *s, const struct src_reply *r)
{
	if (r->code == 220)
		wire_tls_client(&s->w, s->src->cred);
	else
		give_up(s, X_STARTTLS, r);
}

static void
on_mail(struct src_session *s, const struct src_reply *r)
{
	if (r->code / 100 != 2)
		refused(s, X_MAIL, r);
	if (s->can_pipeline)
		return;
	if (s->sending.failed)
		send_command(s, "RSET", X_RSET);
	else
		send_next(s);
}

static void
on_rcpt(struct src_session *s, const struct src_reply *r)
{
	if (r->code / 100 == 2)
		s->sending.ok_rcpts++;
	else
		s->src->refused_recipients++;
	/* The message has failed with the last recipient, if none was taken. */
	if (r->code / 100 != 2 && !s->sending.ok_rcpts && s->src->opt.recipients == 1)
		refused(s, X_RCPT, r);
	if (!s->can_pipeline)
		send_next(s);
}

static void
on_data(struct src_session *s, const struct src_reply *r)
{
	if (r->code == 354 && s->sending.ok_rcpts) {
		begin_body(s);
	} else if (r->code == 354) {
		/* A server that asks for content although it took no recipient gets none. */
		wire_puts(&s->w, ".\r\n");
		end_body(s);
	} else {
		refused(s, X_DATA, r);
		send_command(s, "RSET", X_RSET);
	}
}

static void
on_rset(struct src_session *s, const struct src_reply *r)
{
	(void)r;
	if (!s->sending.failed)
		src_failed(s->src, 0, "rcpt", "no recipient was accepted");
	s->sending.active = false;
	begin_message(s);
}

static void
on_eom(struct src_session *s, const struct src_reply *r)
{
	if (r->code / 100 == 2)
		src_accepted(s->src, &s->waiting);
	else if (!s->waiting.failed)
		src_failed(s->src, r->code, stage_name[X_EOM], r->text);
	s->waiting.active = false;
	if (!s->sending.active)
		begin_message(s);
}

static void
on_quit(struct src_session *s, const struct src_reply *r)
{
	(void)r;
	disconnect(s, "quit");
	if (s->src->stop)
		finish(s);
	else
		connect_now(s);
}

typedef void reply_fn(struct src_session *, const struct src_reply *);
static reply_fn *const handlers[X_KINDS] = {
	[X_BANNER] = on_banner, [X_EHLO] = on_ehlo, [X_STARTTLS] = on_starttls, [X_MAIL] = on_mail,
	[X_RCPT] = on_rcpt, [X_DATA] = on_data, [X_EOM] = on_eom, [X_RSET] = on_rset,
	[X_QUIT] = on_quit,
};

static bool
parse_reply(const char *line, size_t len, struct src_reply *r)
{
	if (len < 3 || !isdigit((unsigned char)line[0]) || !isdigit((unsigned char)line[1]) ||
	    !isdigit((unsigned char)line[2]) || (len > 3 && line[3] != ' ' && line[3] != '-'))
		return false;
	r->code = (unsigned)(line[0] - '0') * 100 + (unsigned)(line[1] - '0') * 10 +
		(unsigned)(line[2] - '0');
	r->last = len == 3 || line[3] == ' ';
	r->text = line;
	return true;
}

static void
protocol_error(struct src_session *s, const char *line)
{
	src_failed(s->src, 0, "protocol", line);
	s->sending.active = false;
	disconnect(s, line);
	reconnect_later(s);
}

/* 421: the server closes whatever the command was; begin nothing more here. */
static void
take_leave(struct src_session *s, enum src_expect what, const struct src_reply *r)
{
	struct src_txn *t = what == X_EOM ? &s->waiting : &s->sending;

	if (!t->active)
		src_problem(s->src, r->code, stage_name[what], r->text);
	else if (!t->failed)
		src_failed(s->src, r->code, stage_name[what], r->text);
	t->active = false;
	disconnect(s, r->text);
	reconnect_later(s);
}

/* One line of a reply.  A 421 that nobody asked for is followed by the close. */
static void
take_line(struct src_session *s, const char *line, size_t len)
{
	struct src_reply r;
	enum src_expect what;

	if (!parse_reply(line, len, &r)) {
		protocol_error(s, line);
		return;
	}
	if (!s->expect_len) {
		if (r.code != 421)
			protocol_error(s, line);
		return;
	}
	what = s->expect[s->expect_at];
	if (what == X_EHLO)
		note_capability(s, line);
	if (!r.last)
		return;
	s->expect_at = (s->expect_at + 1) % s->ring;
	s->expect_len--;
	/* Connecting again and again to a server that takes no mail is no progress. */
	if (what >= X_MAIL)
		s->src->progress_us = wire_now_us();
	if (r.code == 421)
		take_leave(s, what, &r);
	else
		handlers[what](s, &r);
}

/* Callbacks of the wire */

static void
on_up(struct wire *w)
{
	struct src_session *s = (struct src_session *)w;
	struct source *src = s->src;

	if (w->tls) {
		/* What was announced in the clear does not count. */
		s->can_pipeline = s->can_starttls = s->can_size = s->can_8bit = false;
		send_hello(s);
		wire_flush(w);
		return;
	}
	s->connected = true;
	src->connections++;
	if (++src->open > src->peak)
		src->peak = src->open;
	expect(s, X_BANNER);
}

static bool
on_input(struct wire *w)
{
	struct src_session *s = (struct src_session *)w;
	char *line;
	size_t len;

	while (w->state == WIRE_OPEN && wire_line(w, &line, &len))
		take_line(s, line, len);
	if (w->state == WIRE_OPEN && wire_overlong(w))
		protocol_error(s, "line too long");
	wire_flush(w);
	return w->state != WIRE_CLOSED && w->state != WIRE_CONNECTING;
}

static void
on_drained(struct wire *w)
{
	pump_body((struct src_session *)w);
}

static void
on_gone(struct wire *w, const char *why)
{
	struct src_session *s = (struct src_session *)w;
	if (!s->connected)
		src_problem(s->src, 0, "connect", why);
	disconnect(s, why);
	reconnect_later(s);
}

static const struct wire_ops ops = {
	.up = on_up, .input = on_input, .drained = on_drained, .gone = on_gone,
};

static void
connect_now(struct src_session *s)
{
	struct source *src = s->src;
	const struct sockaddr *from = NULL;
	int ret;

	if (src->stop) {
		finish(s);
		return;
	}
	if (src->from.count)
		from = (const struct sockaddr *)&src->from.item[s->number % src->from.count];
	s->expect_len = 0;
	s->on_connection = 0;
	s->can_pipeline = s->can_starttls = s->can_size = s->can_8bit = false;
	ret = wire_connect(&s->w, (const struct sockaddr *)&src->target, src->target_len, from,
		src->from.len);
	if (ret < 0) {
		src_problem(src, 0, "connect", strerror(-ret));
		reconnect_later(s);
	}
}

void
src_session_start(struct source *src, struct src_session *s, size_t number)
{
	s->src = src;
	s->number = number;
	/* Two envelopes and an end of DATA are the most that can be outstanding. */
	s->ring = (size_t)src->opt.recipients * 2 + 8;
	s->expect = calloc(s->ring, sizeof *s->expect);
	if (!s->expect)
		abort();
	ev_timer_init(&s->retry, on_retry, 0., 0.);
	s->retry.data = s;
	wire_init(&s->w, &ops, INPUT_MAX);
	connect_now(s);
}

void
src_session_free(struct src_session *s)
{
	ev_timer_stop(EV_DEFAULT_UC_ &s->retry);
	if (s->waiting.active)
		src_unknown(s->src, &s->waiting);
	wire_free(&s->w);
	free(s->expect);
}
