/*
 * phase.c - what an attempt's time went to.
 *
 * Each state of a connection belongs to a phase, or to none; leaving the state adds its time
 * to the phase's.  Connecting and what follows it count for the first transaction on the
 * connection, and hosts that were tried in vain add up.  All on the connection's loop.
 */
#include "client.h"

#define NONE GA_PHASES

static const enum ga_attempt_phase phases[SMTPC_STATES] = {
	[SMTPC_CONNECTING] = GA_PHASE_CONNECT,
	[SMTPC_SMTPS] = GA_PHASE_TLS,
	[SMTPC_GREETING] = GA_PHASE_GREETING,
	[SMTPC_EHLO] = GA_PHASE_EHLO,
	[SMTPC_HELO] = GA_PHASE_EHLO,
	[SMTPC_STARTTLS_CMD] = GA_PHASE_TLS,
	[SMTPC_HANDSHAKE] = GA_PHASE_TLS,
	[SMTPC_AUTH] = GA_PHASE_AUTH,
	[SMTPC_PREPARE] = NONE,
	[SMTPC_RSET] = GA_PHASE_MAIL,
	[SMTPC_MAIL] = GA_PHASE_MAIL,
	[SMTPC_RCPT] = GA_PHASE_RCPT,
	[SMTPC_DATA] = GA_PHASE_DATA,
	[SMTPC_BODY] = GA_PHASE_MESSAGE,
	[SMTPC_HELD] = GA_PHASE_MESSAGE,
	[SMTPC_DOT] = GA_PHASE_DOT,
	[SMTPC_SAVED] = NONE,
	[SMTPC_QUIT] = NONE,
	[SMTPC_CLOSED] = NONE,
};

void
smtpc_phases_begin(struct smtpc_conn *c)
{
	for (unsigned i = 0; i < GA_PHASES; i++)
		c->phase_ms[i] = GA_NO_TIME;
	c->phase_over = true;
	c->phase_since_ms = ga_now_ms(c->loop->worker);
}

void
smtpc_phase_spend(struct smtpc_conn *c)
{
	uint64_t now = ga_now_ms(c->loop->worker);
	enum ga_attempt_phase phase = c->phase_over ? NONE : phases[c->state];

	if (phase != NONE && c->phase_ms[phase] == GA_NO_TIME)
		c->phase_ms[phase] = 0;
	if (phase != NONE)
		c->phase_ms[phase] += (uint32_t)(now - c->phase_since_ms);
	c->phase_since_ms = now;
	c->phase_over = false;
}
