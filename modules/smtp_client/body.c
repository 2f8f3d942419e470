/*
 * body.c - the octets of a message on their way into the stream.
 *
 * Called by transaction.c after 354, on the connection's loop.  A body in memory
 * goes out chunk by chunk, dot-stuffed without copying, many iovecs a write.  A
 * body that only the spool has is read in pieces of SMTPC_PIECE: one is sent
 * while the next is read, so two are in memory at most.  One call writes at most
 * SMTPC_TURN octets, so that a fast receiver does not keep the loop from others.
 * The dot goes with the last octets, unless the caller holds it back.  With BDAT nothing
 * is stuffed, and the last octet of the message is what can be held back.
 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SMTPC_TURN (1024u * 1024)

static void piece_read(struct ga_worker *, struct ga_spool_read_body *);

static void
read_ahead(struct smtpc_conn *c)
{
	struct smtpc_body *b = &c->txn.body;

	if (b->reading || b->ahead != NULL || b->offset >= b->size || b->error != 0)
		return;
	b->reading = true;
	b->read = (struct ga_spool_read_body){ .seq = c->txn.first->seq, .offset = b->offset,
		.len = SMTPC_PIECE, .cb = piece_read, .arg = smtpc_conn_ref(c) };
	smtpc.spool->read_body(c->loop->worker, &b->read);
}

static void
piece_read(struct ga_worker *w, struct ga_spool_read_body *read)
{
	struct smtpc_conn *c = read->arg;
	struct smtpc_body *b = &c->txn.body;

	b->reading = false;
	if (c->txn.first == NULL) {
		if (read->piece != NULL)
			ga_body_unref(read->piece);
	} else {
		if (read->error != 0 || read->piece == NULL || read->piece->size == 0)
			b->error = read->error != 0 ? read->error : EIO;
		b->ahead = read->piece;
		if (read->piece != NULL)
			b->offset += read->piece->size;
		smtpc_txn_more(c);
	}
	smtpc_conn_unref(c);
}

void
smtpc_body_begin(struct smtpc_conn *c)
{
	struct smtpc_body *b = &c->txn.body;
	const struct ga_body *body = b->whole != NULL ? b->whole : c->txn.message->body;

	b->size = body != NULL ? body->size : c->txn.message->body_size;
	b->chunk = body != NULL ? body->chunks : NULL;
	b->pieces = b->chunk == NULL && b->size > 0;
	b->chunking = c->txn.chunking;
	if (b->chunking) {
		b->stuff.raw = true;
		b->stuff.binary = (c->txn.message->flags & GA_MSG_BINARYMIME) != 0;
		snprintf(b->head, sizeof b->head, "BDAT %llu LAST\r\n", (unsigned long long)b->size);
	}
	if (b->pieces)
		read_ahead(c);
}

/* The piece that was sent gives way to the one read meanwhile. */
static void
next_piece(struct smtpc_conn *c)
{
	struct smtpc_body *b = &c->txn.body;

	if (b->piece != NULL)
		ga_body_unref(b->piece);
	b->piece = b->ahead;
	b->ahead = NULL;
	b->at = 0;
	b->chunk = b->piece != NULL ? b->piece->chunks : NULL;
	read_ahead(c);
}

/* Octets of the chunk to plan now: with BDAT not the very last one. */
static size_t
plannable(struct smtpc_body *b)
{
	size_t n = b->chunk->n - b->at;

	if (!b->chunking || b->planned + n < b->size)
		return n;
	b->tail = b->chunk->data[b->chunk->n - 1];
	return n - 1;
}

static void
plan_end(struct smtpc_body *b)
{
	if (!b->chunking) {
		b->planned_end = smtpc_stuff_end(&b->stuff, b->iov, &b->niov);
	} else if (b->size > 0 && b->planned + 1 != b->size) {
		b->error = EIO;		/* the host has been told of another size */
	} else {
		if (b->size > 0)
			smtpc_stuff(&b->stuff, &b->tail, 1, b->iov, SMTPC_IOVS, &b->niov);
		b->stuff.dirty |= b->stuff.cr;
		b->planned_end = !b->stuff.dirty;
	}
}

/* Fills iov from the chunks at hand; all of it had been written before. */
static void
plan(struct smtpc_conn *c, bool end)
{
	struct smtpc_body *b = &c->txn.body;
	const int room = SMTPC_IOVS - 1;	/* the last one is the dot's */

	b->niov = b->iov_at = 0;
	if (b->chunking && !b->begun)
		b->iov[b->niov++] = (struct iovec){ b->head, strlen(b->head) };
	b->begun = true;
	if (b->pieces && b->chunk == NULL)
		next_piece(c);
	while (b->chunk != NULL && b->niov + SMTPC_STUFF_ROOM <= room && !b->stuff.dirty) {
		size_t n = plannable(b), used = smtpc_stuff(&b->stuff, b->chunk->data + b->at, n, b->iov,
		    room, &b->niov);

		b->at += used;
		b->planned += used;
		if (used == n) {
			b->chunk = b->chunk->next;
			b->at = 0;
		} else if (b->niov + SMTPC_STUFF_ROOM > room) {
			break;
		}
	}
	if (b->chunk == NULL && (!b->pieces ||
	    (b->offset >= b->size && b->ahead == NULL && !b->reading)))
		b->planned_all = true;
	if (b->planned_all && end && !b->planned_end && !b->stuff.dirty)
		plan_end(b);
}

static void
advance(struct smtpc_body *b, size_t n)
{
	while (n > 0 && n >= b->iov[b->iov_at].iov_len)
		n -= b->iov[b->iov_at++].iov_len;
	if (n > 0) {
		b->iov[b->iov_at].iov_base = (char *)b->iov[b->iov_at].iov_base + n;
		b->iov[b->iov_at].iov_len -= n;
	}
}

/* The next n octets of iov have gone.  The command of BDAT is no text of the message. */
static void
tell(struct smtpc_conn *c, size_t n)
{
	const struct smtpc_body *b = &c->txn.body;

	for (int i = b->iov_at; n > 0; i++) {
		const char *p = b->iov[i].iov_base;
		size_t len = b->iov[i].iov_len < n ? b->iov[i].iov_len : n;
		bool head = p >= b->head && p < b->head + sizeof b->head;

		smtpc_octets(c, GA_OUT_CMD, !head, (struct ga_str){ p, len });
		n -= len;
	}
}

/* Nothing is left in iov: what now?  BLOCKED stands for "plan more". */
static enum smtpc_sent
drained(const struct smtpc_body *b, bool end)
{
	if (b->planned_end)
		return SMTPC_SENT_ALL;
	if (b->planned_all)
		return end ? SMTPC_SENT_BLOCKED : SMTPC_SENT_HELD;
	return SMTPC_SENT_BLOCKED;
}

enum smtpc_sent
smtpc_body_send(struct smtpc_conn *c, bool end, int *error)
{
	struct smtpc_body *b = &c->txn.body;
	size_t turn = 0;

	while (turn < SMTPC_TURN) {
		ssize_t n;

		if (b->iov_at == b->niov) {
			enum smtpc_sent s = drained(b, end);

			if (s != SMTPC_SENT_BLOCKED)
				return s;
			plan(c, end);
			if (b->stuff.dirty)
				return SMTPC_SENT_DIRTY;
			if (b->niov == 0 && b->error != 0)
				return SMTPC_SENT_UNREADABLE;
			if (b->niov == 0 && !b->planned_all)
				return SMTPC_SENT_WAITS;
			if (b->niov == 0)
				continue;
			smtpc_deadline(c, c->conf->smtp_data_block_timeout);
		}
		n = ga_stream_writev(c->stream, b->iov + b->iov_at, b->niov - b->iov_at);
		if (n == -EAGAIN)
			return SMTPC_SENT_BLOCKED;
		if (n < 0) {
			*error = (int)-n;
			return SMTPC_SENT_ERROR;
		}
		if (GA_WANTED(c->plan, bytes))
			tell(c, (size_t)n);
		advance(b, (size_t)n);
		/* one plan may be megabytes: a slow receiver is not a dead one */
		smtpc_deadline(c, c->conf->smtp_data_block_timeout);
		turn += (size_t)n;
	}
	return b->iov_at == b->niov && drained(b, end) != SMTPC_SENT_BLOCKED ? drained(b, end) :
	    SMTPC_SENT_BLOCKED;
}

void
smtpc_body_end(struct smtpc_conn *c)
{
	struct smtpc_body *b = &c->txn.body;

	if (b->whole != NULL)
		ga_body_unref(b->whole);
	if (b->piece != NULL)
		ga_body_unref(b->piece);
	if (b->ahead != NULL)
		ga_body_unref(b->ahead);
	b->whole = b->piece = b->ahead = NULL;
	b->chunk = NULL;
}
