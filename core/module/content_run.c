/*
 * content_run.c - the hooks over a received message: header, body, eom.
 *
 * ga_run_content() walks the fields, then the pieces of the body, then asks eom;
 * each question may suspend, so the walk is a small state machine that lives in
 * the transaction.  The first verdict other than PASS ends it.  When something
 * was edited, the transaction's body is replaced at the end.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "module/call.h"
#include "module/content.h"
#include "module/log.h"
#include "module/txn.h"

enum stage { STAGE_HEADER, STAGE_BODY, STAGE_EOM, STAGE_DONE };

struct gac_content_run {
	struct ga_run inner;
	struct ga_run *outer;
	enum stage stage;
	size_t field;
	const struct ga_body_chunk *chunk;
	size_t skip;			/* of the header, in the first chunk */
	uint64_t offset;
	struct ga_body *rewritten;	/* body so far, when a body hook is on */
	bool replaced;			/* some chunk was */
	struct ga_str piece;		/* the chunk that is asked about, as it came */
	char *instead;			/* what a module put in its place; NULL: nothing */
	size_t ninstead;
	char *shown;			/* what the module that is asked was shown, replaced since */
	union {
		struct ga_ev_header header;
		struct ga_ev_body body;
		struct ga_ev_eom eom;
	} ev;
	bool async;
};

static void content_answered(struct ga_run *, enum ga_verdict, void *);

static bool
wants(const struct gac_content_run *cr, enum ga_hook_id hook)
{
	return ga_settings_plan(cr->inner.settings)->hooks[hook] != NULL;
}

static enum ga_verdict
ask_header(struct gac_content_run *cr)
{
	struct ga_ev_header *ev = &cr->ev.header;

	if (!gac_content_field(cr->inner.content, cr->field, &ev->name, &ev->value)) {
		cr->stage = STAGE_BODY;
		return GA_PASS;
	}
	ev->t = cr->inner.txn;
	ev->index = (unsigned)cr->field;
	if (ev->name.n == 0)
		return GA_PASS;
	return ga_run_hook(&cr->inner, GA_HOOK_header, ev);
}

static void
header_answered(struct gac_content_run *cr)
{
	if (!gac_content_field_dropped(cr->inner.content))
		cr->field++;
}

static enum ga_verdict
ask_body(struct gac_content_run *cr)
{
	struct ga_ev_body *ev = &cr->ev.body;

	while (cr->chunk != NULL && cr->skip >= cr->chunk->n) {
		cr->skip -= cr->chunk->n;
		cr->chunk = cr->chunk->next;
	}
	if (cr->chunk == NULL) {
		cr->stage = STAGE_EOM;
		return GA_PASS;
	}
	cr->piece = (struct ga_str){ cr->chunk->data + cr->skip, cr->chunk->n - cr->skip };
	ev->t = cr->inner.txn;
	ev->offset = cr->offset;
	return ga_run_hook(&cr->inner, GA_HOOK_body, ev);
}

static struct ga_str
piece_now(const struct gac_content_run *cr)
{
	return cr->instead != NULL ? (struct ga_str){ cr->instead, cr->ninstead } : cr->piece;
}

static void
forget_edits(struct gac_content_run *cr)
{
	free(cr->shown);
	free(cr->instead);
	cr->shown = cr->instead = NULL;
}

static void
body_answered(struct gac_content_run *cr)
{
	struct ga_str piece = piece_now(cr);

	ga_body_append(cr->rewritten, piece.p, piece.n);
	forget_edits(cr);
	cr->offset += cr->piece.n;
	cr->skip = 0;
	cr->chunk = cr->chunk->next;
}

bool
ga_body_replace(struct ga_call *call, struct ga_str text)
{
	struct gac_content_run *cr;
	char *copy;

	if (call->hook != GA_HOOK_body || call->run->txn == NULL)
		return false;
	cr = gac_txn_private(call->run->txn)->content_run;
	if (memchr(text.p != NULL ? text.p : "", '\0', text.n) != NULL)
		return false;
	copy = ga_xmalloc(text.n + 1);
	if (text.n > 0)
		memcpy(copy, text.p, text.n);
	if (cr->instead != NULL && cr->instead == cr->ev.body.chunk.p)
		cr->shown = cr->instead;
	else
		free(cr->instead);
	cr->instead = copy;
	cr->ninstead = text.n;
	cr->replaced = true;
	return true;
}

static uint64_t
size_now(const struct gac_content_run *cr)
{
	uint32_t header_size;
	struct ga_body *body = ga_content_body(cr->inner.content, &header_size);
	uint64_t size = body->size;

	ga_body_unref(body);
	return size;
}

bool
gac_content_refresh(struct ga_call *call)
{
	struct gac_content_run *cr;

	if (call->hook != GA_HOOK_header && call->hook != GA_HOOK_body && call->hook != GA_HOOK_eom)
		return true;
	cr = gac_txn_private(call->run->txn)->content_run;
	if (call->hook == GA_HOOK_eom) {
		cr->ev.eom.size = size_now(cr);
		return true;
	}
	if (call->hook == GA_HOOK_body) {
		free(cr->shown);
		cr->shown = NULL;
		cr->ev.body.chunk = piece_now(cr);
		return cr->ev.body.chunk.n > 0;
	}
	return !gac_content_field_dropped(cr->inner.content) && gac_content_field(cr->inner.content,
	    cr->field, &cr->ev.header.name, &cr->ev.header.value);
}

/* Chunks may end between CR and LF, so that only the whole can be judged. */
static bool
wire_text(const struct ga_body *body)
{
	bool cr = false;

	for (const struct ga_body_chunk *k = body->chunks; k != NULL; k = k->next)
		for (size_t i = 0; i < k->n; i++) {
			if ((k->data[i] == '\n') != cr)
				return false;
			cr = k->data[i] == '\r';
		}
	return !cr;
}

static enum ga_verdict
ask_eom(struct gac_content_run *cr)
{
	struct ga_ev_eom *ev = &cr->ev.eom;

	if (cr->replaced) {
		if (!wire_text(cr->rewritten)) {
			gac_log(GA_WARN, "core", "GA-HOOK-BODY", "what modules made of the body of a "
			    "message has other line ends than CRLF: it is not accepted");
			return GA_TEMPFAIL;
		}
		gac_content_replace(cr->inner.content, ga_body_ref(cr->rewritten));
	}
	ev->t = cr->inner.txn;
	ev->nrcpt = (unsigned)cr->inner.txn->nrcpts;
	cr->stage = STAGE_DONE;
	return ga_run_hook(&cr->inner, GA_HOOK_eom, ev);
}

/* Asks what is next; SUSPENDED_: content_answered() goes on. */
static enum ga_verdict
go_on(struct gac_content_run *cr)
{
	enum ga_verdict verdict = GA_PASS;

	while (verdict == GA_PASS && cr->stage != STAGE_DONE) {
		switch (cr->stage) {
		case STAGE_HEADER:
			if (!wants(cr, GA_HOOK_header)) {
				cr->stage = STAGE_BODY;
				break;
			}
			verdict = ask_header(cr);
			if (verdict == GA_PASS && cr->stage == STAGE_HEADER)
				header_answered(cr);
			break;
		case STAGE_BODY:
			if (!wants(cr, GA_HOOK_body)) {
				cr->stage = STAGE_EOM;
				break;
			}
			verdict = ask_body(cr);
			if (verdict == GA_PASS && cr->stage == STAGE_BODY)
				body_answered(cr);
			break;
		case STAGE_EOM:
			verdict = ask_eom(cr);
			break;
		case STAGE_DONE:
			break;
		}
	}
	return verdict;
}

static void
take_edits(struct gac_content_run *cr)
{
	struct ga_txn *t = cr->inner.txn;
	struct ga_body *body;

	if (!ga_content_changed(cr->inner.content))
		return;
	body = ga_content_body(cr->inner.content, &t->header_size);
	ga_body_unref(t->body);
	t->body = body;
}

static void
content_run_free(struct gac_content_run *cr)
{
	gac_txn_private(cr->inner.txn)->content_run = NULL;
	ga_content_free(cr->inner.content);
	ga_body_unref(cr->rewritten);
	forget_edits(cr);
	free(cr);
}

void
gac_content_run_cancel(struct gac_content_run *cr, enum ga_why why)
{
	ga_run_cancel(&cr->inner, why);
	cr->outer->call_ = NULL;
	content_run_free(cr);
}

static enum ga_verdict
end_content(struct gac_content_run *cr, enum ga_verdict verdict)
{
	if (verdict == GA_PASS || verdict == GA_HOLD || verdict == GA_ACCEPT)
		take_edits(cr);
	cr->outer->reply = cr->inner.reply;
	content_run_free(cr);
	return verdict;
}

static void
content_answered(struct ga_run *inner, enum ga_verdict verdict, void *arg)
{
	struct gac_content_run *cr = arg;
	struct ga_run *outer = cr->outer;

	(void)inner;
	if (verdict == GA_PASS) {
		if (cr->stage == STAGE_HEADER)
			header_answered(cr);
		else if (cr->stage == STAGE_BODY)
			body_answered(cr);
		verdict = go_on(cr);
		if (verdict == GA_SUSPENDED_)
			return;
	}
	verdict = end_content(cr, verdict);
	outer->done(outer, verdict, outer->arg);
}

enum ga_verdict
ga_run_content(struct ga_run *run)
{
	struct ga_txn *t = run->txn;
	struct gac_content_run *cr = ga_xcalloc(1, sizeof *cr);
	enum ga_verdict verdict;

	run->reply.code = 0;
	cr->outer = run;
	cr->inner.worker = run->worker;
	cr->inner.settings = run->settings;
	cr->inner.session = run->session;
	cr->inner.txn = t;
	cr->inner.object_id = run->object_id;
	cr->inner.content = ga_content_new(t->body, t->header_size);
	cr->inner.done = content_answered;
	cr->inner.arg = cr;
	cr->chunk = t->body->chunks;
	cr->skip = t->header_size;
	cr->rewritten = ga_body_new();
	gac_txn_private(t)->content_run = cr;
	verdict = go_on(cr);
	if (verdict == GA_SUSPENDED_)
		return verdict;
	return end_content(cr, verdict);
}
