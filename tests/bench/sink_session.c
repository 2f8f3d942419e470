/*
 * sink_session.c - one SMTP session of ga_smtp_sink, from greeting to close.
 *
 * Started by the acceptors of sink.c, driven by the callbacks of wire.h on the
 * only loop.  A session owns its wire, its transaction and its delay timer, and
 * frees itself when the connection is gone.
 *
 * Commands are handled one after the other as they stand in the input; replies
 * gather in the output and leave in one send when the input is used up, so a
 * group of pipelined commands costs two system calls.  Every reply that can be
 * delayed or replaced goes through at_stage(); while a delay runs, nothing
 * more is read.
 *
 * It is a sink: it believes any address, and only keeps the order of commands.
 */
#include "sink.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>

/* The longest piece of input; a command line has to fit. */
#define INPUT_MAX 65536

typedef void step_fn(struct sink_session *);

struct command {
	const char *verb;
	step_fn *run;
};

static bool work(struct sink_session *);

static void
say(struct sink_session *s, const char *reply)
{
	wire_puts(&s->w, reply);
	wire_puts(&s->w, "\r\n");
}

/*
 * share of every `of`, spread evenly and the same in every run: exact after any
 * `of` occurrences.
 */
static bool
falls_in_share(uint64_t nth, uint64_t share, uint64_t of)
{
	return nth * share / of != (nth - 1) * share / of;
}

/* The reply that takes the place of the usual one, or NULL. */
static const char *
replacement(struct sink_session *s, enum sink_stage stage)
{
	struct sink *k = s->sink;
	uint64_t defer = k->opt.defer_percent, both = defer + k->opt.fail_percent, nth;

	if (stage != k->reply_at || !both)
		return NULL;
	nth = ++k->n.replies[stage];
	if (!falls_in_share(nth, both, 100))
		return NULL;
	if (falls_in_share(nth * both / 100, defer, both)) {
		k->n.deferred++;
		return k->opt.defer_reply;
	}
	k->n.failed++;
	return k->opt.fail_reply;
}

/* Say the replacement, if this reply is to be replaced; a 421 also closes. */
static bool
replaced(struct sink_session *s, enum sink_stage stage)
{
	const char *reply = replacement(s, stage);

	if (!reply)
		return false;
	say(s, reply);
	if (!strncmp(reply, "421", 3))
		s->quitting = true;
	return true;
}

/* Go on with next, now or when the delay of this stage is over. */
static void
at_stage(struct sink_session *s, enum sink_stage stage, step_fn *next)
{
	struct sink *k = s->sink;

	if (!k->opt.delay_us || stage != k->delay_at) {
		next(s);
		return;
	}
	s->held = true;
	s->after_hold = next;
	wire_flush(&s->w);
	wire_pause(&s->w);
	ev_timer_set(&s->timer, (double)k->opt.delay_us / 1e6, 0.);
	ev_now_update(EV_DEFAULT_UC);
	ev_timer_start(EV_DEFAULT_UC_ &s->timer);
}

static void
on_delay_over(EV_P_ ev_timer *t, int revents)
{
	struct sink_session *s = t->data;

	(void)EV_A;
	(void)revents;
	s->held = false;
	s->after_hold(s);
	if (!s->held && work(s))
		wire_resume(&s->w);
}

static void
forget_transaction(struct sink_session *s)
{
	free(s->mail);
	s->mail = NULL;
	s->have_mail = false;
	s->rcpts.len = 0;
	s->rcpts.count = 0;
}

static void
destroy(struct sink_session *s)
{
	if (s->in_data || s->rcpts.count)
		s->sink->n.aborted++;
	if (s->messages > s->sink->n.most_a_connection)
		s->sink->n.most_a_connection = s->messages;
	s->sink->n.open--;
	s->client->open--;
	ev_timer_stop(EV_DEFAULT_UC_ &s->timer);
	forget_transaction(s);
	sink_data_free(&s->data);
	free(s->rcpts.text);
	free(s->helo);
	wire_free(&s->w);
	free(s);
}

/* Commands */

static void
greet(struct sink_session *s)
{
	if (replaced(s, STAGE_CONNECT))
		return;
	wire_puts(&s->w, "220 ");
	wire_puts(&s->w, s->sink->opt.hostname);
	say(s, " ESMTP ga_smtp_sink");
}

static void
reply_hello(struct sink_session *s)
{
	struct sink *k = s->sink;
	char size[64];

	if (replaced(s, STAGE_EHLO))
		return;
	forget_transaction(s);
	if (!s->esmtp) {
		wire_puts(&s->w, "250 ");
		say(s, k->opt.hostname);
		return;
	}
	wire_puts(&s->w, "250-");
	say(s, k->opt.hostname);
	if (!k->opt.no_pipelining)
		say(s, "250-PIPELINING");
	if (k->cred && !s->w.tls)
		say(s, "250-STARTTLS");
	say(s, "250-8BITMIME");
	say(s, "250-ENHANCEDSTATUSCODES");
	snprintf(size, sizeof size, "250 SIZE %llu", (unsigned long long)k->opt.max_size);
	say(s, size);
}

static void
cmd_hello(struct sink_session *s)
{
	free(s->helo);
	s->helo = strdup(s->arg);
	at_stage(s, STAGE_EHLO, reply_hello);
}

static void
cmd_ehlo(struct sink_session *s)
{
	s->esmtp = true;
	cmd_hello(s);
}

static void
cmd_helo(struct sink_session *s)
{
	s->esmtp = false;
	cmd_hello(s);
}

static void
reply_mail(struct sink_session *s)
{
	if (replaced(s, STAGE_MAIL)) {
		forget_transaction(s);
		return;
	}
	s->have_mail = true;
	say(s, "250 2.1.0 Ok");
}

static void
cmd_mail(struct sink_session *s)
{
	if (strncasecmp(s->arg, "FROM:", 5)) {
		say(s, "501 5.5.4 Syntax: MAIL FROM:<address>");
		return;
	}
	if (s->have_mail) {
		say(s, "503 5.5.1 Nested MAIL");
		return;
	}
	free(s->mail);
	s->mail = strdup(s->arg + 5);
	if (!s->mail)
		abort();
	if (!s->sink->n.first_us)
		s->sink->n.first_us = wire_now_us();
	at_stage(s, STAGE_MAIL, reply_mail);
}

/* Keep the address without its angle brackets; parameters behind it are dropped. */
static void
rcpt_add(struct sink_rcpts *r, const char *arg)
{
	const char *end;
	size_t len;

	arg += strspn(arg, " <");
	end = strchr(arg, '>');
	len = end ? (size_t)(end - arg) : strcspn(arg, " ");
	if (r->len + len + 1 > r->cap) {
		r->cap = (r->len + len + 1) * 2;
		r->text = realloc(r->text, r->cap);
		if (!r->text)
			abort();
	}
	memcpy(r->text + r->len, arg, len);
	r->text[r->len + len] = '\0';
	r->len += len + 1;
	r->count++;
}

static void
reply_rcpt(struct sink_session *s)
{
	if (replaced(s, STAGE_RCPT))
		return;
	rcpt_add(&s->rcpts, s->arg + 3);
	say(s, "250 2.1.5 Ok");
}

static void
cmd_rcpt(struct sink_session *s)
{
	if (strncasecmp(s->arg, "TO:", 3))
		say(s, "501 5.5.4 Syntax: RCPT TO:<address>");
	else if (!s->have_mail)
		say(s, "503 5.5.1 MAIL first");
	else
		at_stage(s, STAGE_RCPT, reply_rcpt);
}

static void
reply_data(struct sink_session *s)
{
	if (replaced(s, STAGE_DATA))
		return;
	s->in_data = true;
	sink_data_begin(&s->data, s->sink->opt.dump != NULL);
	say(s, "354 End data with <CR><LF>.<CR><LF>");
}

static void
cmd_data(struct sink_session *s)
{
	if (!s->rcpts.count)
		say(s, s->have_mail ? "554 5.5.1 No valid recipients" : "503 5.5.1 MAIL first");
	else
		at_stage(s, STAGE_DATA, reply_data);
}

static void
cmd_rset(struct sink_session *s)
{
	forget_transaction(s);
	say(s, "250 2.0.0 Ok");
}

static void
cmd_noop(struct sink_session *s)
{
	say(s, "250 2.0.0 Ok");
}

static void
cmd_quit(struct sink_session *s)
{
	say(s, "221 2.0.0 Bye");
	s->quitting = true;
}

static void
cmd_starttls(struct sink_session *s)
{
	if (!s->sink->cred || s->w.tls) {
		say(s, "502 5.5.1 Not offered");
		return;
	}
	say(s, "220 2.0.0 Ready to start TLS");
	wire_flush(&s->w);
	forget_transaction(s);
	s->sink->n.tls++;
	wire_tls_server(&s->w, s->sink->cred);
}

static const struct command commands[] = {
	{ "MAIL", cmd_mail }, { "RCPT", cmd_rcpt }, { "DATA", cmd_data }, { "EHLO", cmd_ehlo },
	{ "HELO", cmd_helo }, { "RSET", cmd_rset }, { "NOOP", cmd_noop }, { "QUIT", cmd_quit },
	{ "STARTTLS", cmd_starttls },
};

static void
run_command(struct sink_session *s, char *line)
{
	size_t verb = strcspn(line, " ");

	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		if (strlen(commands[i].verb) == verb && !strncasecmp(commands[i].verb, line, verb)) {
			s->arg = line + verb + (line[verb] == ' ');
			commands[i].run(s);
			return;
		}
	}
	s->sink->n.bad_commands++;
	say(s, "500 5.5.2 Command not recognized");
}

/* The message */

static void
count_second(struct sink *k, uint64_t now)
{
	size_t second = (size_t)((now - k->n.start_us) / 1000000);

	if (second >= k->seconds) {
		size_t n = second + 60;

		k->second = realloc(k->second, n * sizeof *k->second);
		if (!k->second)
			abort();
		memset(k->second + k->seconds, 0, (n - k->seconds) * sizeof *k->second);
		k->seconds = n;
	}
	k->second[second]++;
}

static void
accept_message(struct sink_session *s)
{
	struct sink *k = s->sink;

	k->n.messages++;
	k->n.recipients += s->rcpts.count;
	k->n.bytes += s->data.size;
	k->n.last_us = wire_now_us();
	count_second(k, k->n.last_us);
	s->messages++;
	s->client->messages++;
	s->listener->messages++;
	sink_store(s);
	say(s, "250 2.0.0 Ok");
	if (k->opt.exit_after && k->n.messages == k->opt.exit_after)
		ev_break(EV_DEFAULT_UC_ EVBREAK_ALL);
}

static void
reply_eom(struct sink_session *s)
{
	if (s->data.size > s->sink->opt.max_size) {
		s->sink->n.oversized++;
		say(s, "552 5.3.4 Message too big");
	} else if (!replaced(s, STAGE_EOM)) {
		accept_message(s);
	}
	forget_transaction(s);
}

static void
take_data(struct sink_session *s)
{
	struct wire *w = &s->w;
	bool ended;

	/* Past the limit the rest is only looked through for its end. */
	if (s->data.size > s->sink->opt.max_size)
		s->data.keep_all = false;
	w->in_at += sink_data_feed(&s->data, w->in + w->in_at, w->in_end - w->in_at, &ended);
	if (ended) {
		s->in_data = false;
		at_stage(s, STAGE_EOM, reply_eom);
	}
}

/* Use up the input.  False: the session is gone. */
static bool
work(struct sink_session *s)
{
	char *line;
	size_t len;

	while (!s->held && !s->quitting && s->w.state == WIRE_OPEN) {
		if (s->in_data) {
			if (s->w.in_at == s->w.in_end)
				break;
			take_data(s);
		} else if (wire_line(&s->w, &line, &len)) {
			run_command(s, line);
		} else if (wire_overlong(&s->w)) {
			say(s, "500 5.5.2 Line too long");
			s->quitting = true;
		} else {
			break;
		}
	}
	wire_flush(&s->w);
	if (s->quitting && !s->held) {
		destroy(s);
		return false;
	}
	return true;
}

/* Callbacks of the wire */

static void
on_up(struct wire *w)
{
	/* TLS is up: the client speaks next. */
	(void)w;
}

static bool
on_input(struct wire *w)
{
	return work((struct sink_session *)w);
}

static void
on_gone(struct wire *w, const char *why)
{
	(void)why;
	destroy((struct sink_session *)w);
}

static const struct wire_ops ops = { .up = on_up, .input = on_input, .gone = on_gone };

static struct sink_client *
client_of(struct sink *k, const struct sockaddr *peer)
{
	char name[WIRE_ADDR_TEXT];
	struct sink_client *c;

	wire_addr_text(peer, name, false);
	HASH_FIND_STR(k->clients, name, c);
	if (!c) {
		c = calloc(1, sizeof *c);
		if (!c)
			abort();
		strcpy(c->name, name);
		HASH_ADD_STR(k->clients, name, c);
	}
	return c;
}

void
sink_session_start(struct sink *k, struct sink_listener *l, int fd, const struct sockaddr *peer)
{
	struct sink_session *s = calloc(1, sizeof *s);

	if (!s)
		abort();
	s->sink = k;
	s->listener = l;
	s->client = client_of(k, peer);
	s->client->connections++;
	if (++s->client->open > s->client->peak)
		s->client->peak = s->client->open;
	wire_addr_text(peer, s->peer, true);
	ev_timer_init(&s->timer, on_delay_over, 0., 0.);
	s->timer.data = s;
	wire_init(&s->w, &ops, INPUT_MAX);
	wire_accepted(&s->w, fd);
	at_stage(s, STAGE_CONNECT, greet);
	work(s);
}
