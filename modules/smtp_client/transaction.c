/*
 * transaction.c - one message to its recipients: MAIL, RCPT, DATA, the message,
 * the dot; or BDAT and the message.
 *
 * Begun by session.c or prepare.c when both the session and the message are
 * ready; on the connection's loop.  With PIPELINING all commands up to DATA leave
 * in one write.  Replies come in the order of commands either way, so one state,
 * the oldest command without a reply, serves both ways.  Each recipient has its
 * own result; what answers the dot is that of all recipients still accepted.
 * No message is sent when nobody is left to send it to; a receiver that wants
 * one all the same (354 to a pipelined DATA) gets the dot alone (RFC 2920 3.1).
 */
#include "client.h"

#include <stdio.h>
#include <string.h>

static void step(struct smtpc_conn *, enum smtpc_state);
static void finish(struct smtpc_conn *);
static void begin_message(struct smtpc_conn *);

/* --- the commands --- */

static uint64_t
message_size(const struct smtpc_txn *t)
{
	return t->body.whole != NULL ? t->body.whole->size : t->message->body_size;
}

static struct ga_str
recipient(const struct smtpc_txn *t, const struct ga_ticket *ticket)
{
	return smtpc_envelope(t->message, ticket)->recipient;
}

static bool
is_8bit(const struct smtpc_txn *t)
{
	const struct ga_body_chunk *k = t->body.whole != NULL ? t->body.whole->chunks : NULL;

	if (t->message->flags & GA_MSG_8BIT)
		return true;
	/* A module may have put in what was not there before. */
	for (; k != NULL; k = k->next)
		for (size_t i = 0; i < k->n; i++)
			if ((unsigned char)k->data[i] >= 0x80)
				return true;
	return false;
}

static bool
is_binary(const struct smtpc_txn *t)
{
	return (t->message->flags & GA_MSG_BINARYMIME) != 0;
}

static bool
requires_tls(const struct smtpc_txn *t)
{
	return (t->message->flags & GA_MSG_REQUIRETLS) != 0;
}

static void
write_mail(struct smtpc_conn *c)
{
	struct smtpc_txn *t = &c->txn;
	struct smtpc_mail m = { .sender = t->message->sender, .utf8 = t->utf8,
		.size = c->offer.ext & SMTPC_SIZE ? message_size(t) : 0,
		.body_8bit = (c->offer.ext & SMTPC_8BITMIME) != 0 &&
		    ((t->message->flags & GA_MSG_BODY_8BITMIME) || is_8bit(t)),
		.binary = is_binary(t), .requiretls = requires_tls(t) };

	if (t->dsn) {
		ga_attr_get(t->message->attrs, GA_ATTR_RET, &m.ret);
		ga_attr_get(t->message->attrs, GA_ATTR_ENVID, &m.envid);
	}
	smtpc_out_mail(&c->out, &m);
}

static void
write_rcpt(struct smtpc_conn *c, const struct ga_ticket *ticket)
{
	const struct ga_envelope *e = smtpc_envelope(c->txn.message, ticket);
	struct smtpc_rcpt r = { .recipient = e->recipient };

	if (c->txn.dsn) {
		r.notify = ga_attr_u32(e->attrs, GA_ATTR_NOTIFY,
		    (c->txn.message->flags & GA_MSG_BOUNCE) != 0 ? GA_NOTIFY_NEVER : 0);
		ga_attr_get(e->attrs, GA_ATTR_ORCPT, &r.orcpt);
	}
	smtpc_out_rcpt(&c->out, &r);
}

static void
write_command(struct smtpc_conn *c, enum smtpc_state state)
{
	switch (state) {
	case SMTPC_RSET: smtpc_out_command(&c->out, "RSET", (struct ga_str){ "", 0 }); break;
	case SMTPC_MAIL: write_mail(c); break;
	case SMTPC_RCPT: write_rcpt(c, c->txn.cur); break;
	default: smtpc_out_command(&c->out, "DATA", (struct ga_str){ "", 0 }); break;
	}
}

static void
write_group(struct smtpc_conn *c)
{
	c->txn.sent_ms = ga_now_ms(c->loop->worker);
	if (c->needs_rset)
		write_command(c, SMTPC_RSET);
	write_command(c, SMTPC_MAIL);
	for (struct ga_ticket *t = c->txn.first; t != NULL; t = t->next)
		write_rcpt(c, t);
	if (!c->txn.chunking)
		write_command(c, SMTPC_DATA);
}

/* --- what can be said without asking --- */

static void
refuse_all(struct smtpc_conn *c, enum ga_attempt_stage stage, const char *enhanced, const char *text)
{
	struct smtpc_verdict v = { .result = GA_RESULT_FAILURE, .stage = stage, .enhanced = enhanced,
		.text = ga_str_c(text) };

	smtpc_result_rest(c, &v);
}

/* Takes a ticket out of the list of those that are asked for. */
static struct ga_ticket *
unlink_ticket(struct smtpc_txn *x, struct ga_ticket **at)
{
	struct ga_ticket *t = *at;

	*at = t->next;
	x->n--;
	return t;
}

/* Why this address cannot be sent here, as an enhanced code; NULL: it can. */
static const char *
address_fault(const struct smtpc_conn *c, struct ga_str address, const char *fault, bool *utf8)
{
	bool here = false;

	if (!smtpc_address_clean(address, &here))
		return fault;
	if (here && !(c->offer.ext & SMTPC_SMTPUTF8))
		return "5.6.7";
	*utf8 |= here;
	return NULL;
}

/* Addresses that cannot be written on the wire are refused before anybody is asked. */
static void
check_addresses(struct smtpc_conn *c)
{
	struct smtpc_txn *x = &c->txn;
	struct ga_ticket **at = &x->first;
	struct smtpc_verdict v = { .result = GA_RESULT_FAILURE, .stage = GA_AT_RCPT,
		.text = GA_STR("the recipient's address cannot be sent to this server") };

	x->utf8 = (x->message->flags & GA_MSG_SMTPUTF8) && (c->offer.ext & SMTPC_SMTPUTF8);
	v.enhanced = address_fault(c, x->message->sender, "5.1.7", &x->utf8);
	if (v.enhanced != NULL)
		refuse_all(c, GA_AT_MAIL, v.enhanced, "the sender's address cannot be sent to this server");
	while (*at != NULL) {
		struct ga_ticket *t = *at;

		v.enhanced = address_fault(c, recipient(x, t), "5.1.3", &x->utf8);
		if (v.enhanced == NULL && recipient(x, t).n == 0)
			v.enhanced = "5.1.3";
		if (v.enhanced == NULL || t->result != GA_RESULT_NONE) {
			at = &t->next;
			continue;
		}
		smtpc_result(c, unlink_ticket(x, at), &v);
		t->next = x->refused;
		x->refused = t;
		x->nrefused++;
	}
}

/* RFC 6531 3.5; addresses are looked at by themselves.  A header that is not ASCII
 * without SMTPUTF8 is older than that, and goes as any 8-bit mail does. */
static bool
needs_utf8(const struct ga_message *m)
{
	return (m->flags & GA_MSG_SMTPUTF8) && (m->flags & GA_MSG_8BIT_HEADER);
}

static void
check_message(struct smtpc_conn *c)
{
	const unsigned binary = SMTPC_CHUNKING | SMTPC_BINARYMIME;
	uint64_t size = message_size(&c->txn);
	char text[400];

	if (is_binary(&c->txn) && (c->offer.ext & binary) != binary) {
		/* RFC 3030 3: never by DATA, which would break it */
		snprintf(text, sizeof text, "the message is binary and %s does not offer BINARYMIME", c->mx);
		refuse_all(c, GA_AT_MAIL, "5.6.3", text);
	} else if (requires_tls(&c->txn) && !(c->offer.ext & SMTPC_REQUIRETLS)) {
		snprintf(text, sizeof text, "the sender requires TLS all the way, and %s does not offer REQUIRETLS", c->mx);
		refuse_all(c, GA_AT_MAIL, "5.7.30", text);
	} else if (needs_utf8(c->txn.message) && !(c->offer.ext & SMTPC_SMTPUTF8)) {
		snprintf(text, sizeof text, "the header is UTF-8 and %s does not offer SMTPUTF8", c->mx);
		refuse_all(c, GA_AT_MAIL, "5.6.7", text);
	} else if (c->offer.size_limit > 0 && size > c->offer.size_limit) {
		snprintf(text, sizeof text, "the message has %llu octets and %s takes no more than %llu",
		    (unsigned long long)size, c->mx, (unsigned long long)c->offer.size_limit);
		refuse_all(c, GA_AT_MAIL, "5.3.4", text);
	} else if (c->conf->smtp_8bit_unoffered == SMTPC_8BIT_FAIL &&
	    !(c->offer.ext & SMTPC_8BITMIME) && is_8bit(&c->txn)) {
		snprintf(text, sizeof text, "the message is 8-bit and %s does not offer 8BITMIME", c->mx);
		refuse_all(c, GA_AT_MAIL, "5.6.3", text);
	}
}

/* Ticket t goes into the next transaction on this connection. */
static void
carry(struct smtpc_conn *c, struct ga_ticket *t)
{
	struct ga_ticket **p = &c->txn.first;

	while (*p != t)
		p = &(*p)->next;
	unlink_ticket(&c->txn, p);
	t->next = c->carry;
	c->carry = t;
	c->ncarry++;
}

/* The batch was taken before the host had said how many it takes at once. */
static void
trim(struct smtpc_conn *c)
{
	struct ga_ticket *t = c->txn.first;

	for (unsigned i = 1; i < c->rcpt_limit && t != NULL; i++)
		t = t->next;
	while (c->rcpt_limit > 0 && t != NULL && t->next != NULL)
		carry(c, t->next);
}

void
smtpc_txn_begin(struct smtpc_conn *c)
{
	struct smtpc_txn *t = &c->txn;

	if (requires_tls(t) && !c->verified) {	/* RFC 8689 4.2.1: not on this connection */
		t->verified_only = true;
		smtpc_conn_again(c, "a verified certificate is asked for", false);
		return;
	}
	trim(c);
	check_message(c);
	check_addresses(c);
	t->accepted = t->rcpt_ok = 0;
	t->cur = t->first;
	if (t->first == NULL || t->first->result != GA_RESULT_NONE) {
		/* nobody to ask; many such in a row must not nest */
		smtpc_results_end(c);
		smtpc_next_later(c);
		return;
	}
	t->dsn = (c->offer.ext & SMTPC_DSN) != 0;
	t->chunking = (c->offer.ext & SMTPC_CHUNKING) != 0 && (c->conf->smtp_chunking || is_binary(t));
	t->grouped = (c->offer.ext & SMTPC_PIPELINING) != 0;
	if (t->grouped)
		write_group(c);
	step(c, c->needs_rset ? SMTPC_RSET : SMTPC_MAIL);
}

/* The next command: sent now, unless it went with its group. */
static void
step(struct smtpc_conn *c, enum smtpc_state state)
{
	if (c->txn.grouped) {
		smtpc_enter_since(c, state, c->txn.sent_ms);
	} else {
		smtpc_enter(c, state);
		write_command(c, state);
	}
	smtpc_deadline(c, state == SMTPC_DATA ? c->conf->smtp_data_timeout :
	    c->conf->smtp_command_timeout);
	smtpc_flush(c);
}

/* --- the replies --- */

static void
desynchronised(struct smtpc_conn *c)
{
	smtpc_conn_lost(c, "4.5.0", false, "%s answered %s with %.*s", c->mx,
	    smtpc_command_name(c->state), (int)(c->reply.n < 200 ? c->reply.n : 200), c->reply.text);
}

static void
mail_reply(struct smtpc_conn *c, enum smtpc_kind kind)
{
	struct smtpc_verdict v = smtpc_verdict_reply(c);

	if (kind == SMTPC_GO_ON || kind == SMTPC_ODD) {
		desynchronised(c);
		return;
	}
	c->reused = false;
	if (kind != SMTPC_OK) {
		smtpc_result_rest(c, &v);
		if (!c->txn.grouped) {
			finish(c);
			return;
		}
	}
	step(c, SMTPC_RCPT);
}

static void
rcpt_judge(struct smtpc_conn *c, struct ga_ticket *t, enum smtpc_kind kind)
{
	struct smtpc_txn *x = &c->txn;
	struct smtpc_verdict v;

	x->rcpt_ok += kind == SMTPC_OK;
	if (t->result != GA_RESULT_NONE)
		return;
	if (kind == SMTPC_OK) {
		x->accepted++;
	} else if (x->accepted > 0 &&
	    smtpc_too_many(c->reply.code, ga_reply_enhanced(&c->reply))) {
		c->rcpt_limit = x->accepted;
		carry(c, t);
	} else {
		v = smtpc_verdict_reply(c);
		smtpc_result(c, t, &v);
	}
}

static void
rcpt_reply(struct smtpc_conn *c, enum smtpc_kind kind)
{
	struct smtpc_txn *x = &c->txn;
	struct ga_ticket *t = x->cur, *next = t->next;

	if (kind == SMTPC_GO_ON || kind == SMTPC_ODD) {
		desynchronised(c);
		return;
	}
	rcpt_judge(c, t, kind);
	x->cur = next;
	if (next != NULL) {
		step(c, SMTPC_RCPT);
	} else if (x->chunking && x->accepted > 0) {
		begin_message(c);
	} else if (!x->chunking && (x->grouped || x->accepted > 0)) {
		step(c, SMTPC_DATA);
	} else {
		c->needs_rset = true;
		finish(c);
	}
}

/* --- the message --- */

static void
dirty(struct smtpc_conn *c)
{
	ga_log(smtpc.inst, GA_ERR, "GA-SMC-0003",
	    "message %08x holds a bare CR, a bare LF or a NUL: not sent", c->txn.message->id);
	refuse_all(c, GA_AT_MESSAGE, "5.6.0", "the message holds a bare CR, a bare LF or a NUL");
	c->broken = true;
	finish(c);
}

static void
await_dot(struct smtpc_conn *c)
{
	c->txn.dot_sent = true;
	smtpc_enter(c, SMTPC_DOT);
	smtpc_deadline(c, c->conf->smtp_dot_timeout);
	if (GA_WANTED(c->plan, line) && !c->txn.chunking)
		smtpc_line(c, GA_OUT_CMD, ".", 1);
}

/* Reports tell reading from sending, and since when. */
static void
note_waits(struct smtpc_conn *c, bool waits)
{
	if (c->txn.body.waits != waits)
		c->command_ms = ga_now_ms(c->loop->worker);
	c->txn.body.waits = waits;
}

static void
send_message(struct smtpc_conn *c)
{
	struct smtpc_verdict v = { .result = GA_RESULT_DEFERRAL, .stage = GA_AT_MESSAGE, .enhanced = "4.3.0",
		.text = GA_STR("the message could not be read from the spool") };
	int error = 0;
	enum smtpc_sent sent = smtpc_body_send(c, c->undurable == 0, &error);

	note_waits(c, sent == SMTPC_SENT_WAITS);
	switch (sent) {
	case SMTPC_SENT_ALL:
		smtpc_want_read(c);
		await_dot(c);
		break;
	case SMTPC_SENT_HELD:
		smtpc_want_read(c);
		smtpc_enter_since(c, SMTPC_HELD, c->command_ms);
		smtpc_deadline(c, 0);
		break;
	case SMTPC_SENT_BLOCKED:
		smtpc_want_write(c);
		break;
	case SMTPC_SENT_WAITS:
		smtpc_want_read(c);
		smtpc_deadline(c, 0);
		break;
	case SMTPC_SENT_DIRTY:
		dirty(c);
		break;
	case SMTPC_SENT_UNREADABLE:
		smtpc_conn_failed(c, &v);
		break;
	case SMTPC_SENT_ERROR:
		smtpc_write_failed(c, error);
		break;
	}
}

void
smtpc_txn_writable(struct smtpc_conn *c)
{
	send_message(c);
}

void
smtpc_txn_more(struct smtpc_conn *c)
{
	if (c->state == SMTPC_BODY && !c->write_failed)
		send_message(c);
}

void
smtpc_txn_release(struct smtpc_conn *c)
{
	if (c->state != SMTPC_HELD || c->write_failed)
		return;
	smtpc_enter_since(c, SMTPC_BODY, c->command_ms);
	send_message(c);
}

static void
begin_message(struct smtpc_conn *c)
{
	smtpc_enter(c, SMTPC_BODY);
	smtpc_body_begin(c);
	if (c->txn.chunking && GA_WANTED(c->plan, line))
		smtpc_line(c, GA_OUT_CMD, c->txn.body.head, strlen(c->txn.body.head));
	send_message(c);
}

/* 354: the message, or the dot alone when nobody is left to get it. */
static void
go_ahead(struct smtpc_conn *c)
{
	if (c->txn.accepted > 0) {
		begin_message(c);
	} else if (c->txn.rcpt_ok > 0) {
		/* MAIL was refused but RCPT was not: a dot would deliver nothing to somebody. */
		c->broken = true;
		finish(c);
	} else {
		smtpc_enter(c, SMTPC_DOT);
		smtpc_deadline(c, c->conf->smtp_dot_timeout);
		smtpc_out_command(&c->out, ".", (struct ga_str){ "", 0 });
		smtpc_flush(c);
	}
}

static void
data_reply(struct smtpc_conn *c, enum smtpc_kind kind)
{
	struct smtpc_verdict v;

	if (kind == SMTPC_GO_ON) {
		go_ahead(c);
	} else if (kind == SMTPC_TEMPORARY || kind == SMTPC_PERMANENT) {
		v = smtpc_verdict_reply(c);
		smtpc_result_rest(c, &v);
		c->needs_rset = true;
		finish(c);
	} else {
		desynchronised(c);
	}
}

/* A reply while the message is being sent: final, and the connection is lost,
 * for the receiver expects the rest and we shall not send it. */
static void
early_reply(struct smtpc_conn *c, enum smtpc_kind kind)
{
	struct smtpc_verdict v;

	if (kind != SMTPC_TEMPORARY && kind != SMTPC_PERMANENT) {
		desynchronised(c);
		return;
	}
	v = smtpc_verdict_reply(c);
	smtpc_result_rest(c, &v);
	c->broken = true;
	finish(c);
}

static void
dot_reply(struct smtpc_conn *c, enum smtpc_kind kind)
{
	struct smtpc_verdict v;

	if (kind == SMTPC_GO_ON || kind == SMTPC_ODD) {
		desynchronised(c);
		return;
	}
	v = smtpc_verdict_reply(c);
	smtpc_result_rest(c, &v);
	c->needs_rset = c->txn.chunking && kind != SMTPC_OK;	/* RFC 3030 2 */
	finish(c);
}

void
smtpc_txn_reply(struct smtpc_conn *c)
{
	enum smtpc_kind kind = smtpc_kind(c->reply.code);

	switch (c->state) {
	case SMTPC_RSET:
		c->needs_rset = false;
		step(c, SMTPC_MAIL);
		break;
	case SMTPC_MAIL: mail_reply(c, kind); break;
	case SMTPC_RCPT: rcpt_reply(c, kind); break;
	case SMTPC_DATA: data_reply(c, kind); break;
	case SMTPC_DOT: dot_reply(c, kind); break;
	default: early_reply(c, kind); break;
	}
}

/* --- after it --- */

/* No further transaction on this connection, though it could have one. */
static bool
is_last(const struct smtpc_conn *c)
{
	return c->loop->draining || c->no_more ||
	    (c->offer.mail_max > 0 && c->done >= c->offer.mail_max);
}

/* Carried tickets have no next transaction when the connection has none. */
static void
end_carry(struct smtpc_conn *c)
{
	struct smtpc_verdict v = { .result = GA_RESULT_DEFERRAL, .stage = GA_AT_MAIL, .enhanced = "4.4.2",
		.text = GA_STR("the connection ended before this recipient's turn") };

	if (is_last(c))
		v = (struct smtpc_verdict){ .result = GA_RESULT_RECALLED, .enhanced = "" };
	if (c->broken || c->write_failed || is_last(c))
		smtpc_carry_end(c, &v);
}

static void
finish(struct smtpc_conn *c)
{
	c->done++;
	end_carry(c);
	smtpc_results_end(c);
	smtpc_txn_next(c);
}

/* The next batch for this connection; n 0: none. */
static struct ga_batch
next_batch(struct smtpc_conn *c)
{
	struct ga_batch b = { c->carry, c->ncarry };

	if (b.n > 0) {
		c->carry = NULL;
		c->ncarry = 0;
		return b;
	}
	if (!c->conf->reuse_connections || c->done >= c->max || is_last(c))
		return b;
	return smtpc.throttle->next(c->group, (unsigned)c->conf->max_recipients_per_delivery,
	    smtpc_fits, c);
}

void
smtpc_txn_next(struct smtpc_conn *c)
{
	struct ga_batch b;

	end_carry(c);
	if (c->broken || c->write_failed) {
		smtpc_conn_close(c, "the session could not go on", true);
		return;
	}
	do {
		b = next_batch(c);
		if (b.n > 0) {
			smtpc_set_route(c, b.first->route);
			c->reused = c->done > 0;
			smtpc_tell_connection(c, GA_HOOK_connection_reused, "");
			smtpc_prepare(c, b);
		}
	} while (b.n > 0 && c->txn.first == NULL);
	if (b.n > 0)
		smtpc_session_ready(c);
	else if (c->conf->reuse_connections && c->done < c->max && !is_last(c))
		smtpc_save(c);
	else
		smtpc_session_quit(c, "done");
}
