/*
 * close.c - `close_connection` of the control socket: an operator ends one
 * connection, for `greenarrow close_connection`.
 *
 * A walk over the loops (walk.c) until one has a connection of that id.  It is
 * ended after its transaction, by QUIT, so that nothing is lost and nothing is sent
 * twice; or at once, and then what has no result is deferred, as when a connection
 * is lost.
 */
#include "client.h"

#include <inttypes.h>
#include <stdlib.h>

#include <greenarrow/json.h>
#include <greenarrow/service/control.h>

#define WHY "closed by an operator"

struct request {
	struct smtpc_walk walk;
	uint64_t id;
	bool now;
	const char *done;	/* what was made of it; NULL: not found */
};

static struct smtpc_conn *
find(struct smtpc_loop *l, uint64_t id)
{
	struct smtpc_conn *c;

	TAILQ_FOREACH(c, &l->all, all)
		if (c->id == id)
			return c;
	return NULL;
}

static const char *
end_after_transaction(struct smtpc_conn *c)
{
	switch (c->state) {
	case SMTPC_SAVED:
		smtpc_unsave(c);
		smtpc_session_quit(c, WHY);
		return "quit";
	case SMTPC_QUIT:
	case SMTPC_CLOSED:
		return "quit";
	default:
		c->no_more = true;
		return "after_transaction";
	}
}

static const char *
end_now(struct smtpc_conn *c)
{
	const struct smtpc_verdict v = { .result = GA_RESULT_DEFERRAL, .network = true,
		.stage = smtpc_stage(c), .enhanced = "4.4.2", .text = { "the connection was " WHY, sizeof "the connection was " WHY - 1 } };

	switch (c->state) {
	case SMTPC_SAVED:
		smtpc_unsave(c);
		/* fall through */
	case SMTPC_QUIT:
	case SMTPC_CLOSED:
		smtpc_conn_close(c, WHY, false);
		break;
	default:
		smtpc_reason(c, &v);
		smtpc_drop_stream(c, WHY, true);
		smtpc_give_up(c);
	}
	return "closed";
}

static void
answer(struct ga_worker *w, struct ga_post *post)
{
	struct request *q = GA_CONTAINER(post, struct request, walk.post);
	struct json_object *o;

	if (q->done == NULL) {
		ga_control_error(q->walk.call, "not_found", "no connection %" PRIu64, q->id);
	} else {
		o = json_object_new_object();
		ga_json_put_int(o, "connection", q->id);
		json_object_object_add(o, "done", json_object_new_string(q->done));
		ga_control_reply(q->walk.call, o);
	}
	smtpc_walk_end(&q->walk);
}

static void
look(struct ga_worker *w, struct ga_post *post)
{
	struct request *q = GA_CONTAINER(post, struct request, walk.post);
	struct smtpc_conn *c = find(smtpc_loop(w), q->id);

	if (c == NULL) {
		smtpc_walk_next(&q->walk, answer);
		return;
	}
	q->done = q->now ? end_now(c) : end_after_transaction(c);
	smtpc_walk_home(&q->walk, answer);
}

static void
request_free(struct smtpc_walk *walk)
{
	free(GA_CONTAINER(walk, struct request, walk));
}

static void
ask_close(struct ga_control_call *call, struct json_object *args, void *arg)
{
	struct json_object *id, *now;
	struct request *q;

	if (!json_object_object_get_ex(args, "id", &id) || !json_object_is_type(id, json_type_int) ||
	    json_object_get_int64(id) <= 0) {
		ga_control_error(call, "bad_argument", "\"id\" is the number of a connection");
		return;
	}
	q = ga_xcalloc(1, sizeof *q);
	q->id = (uint64_t)json_object_get_int64(id);
	q->now = json_object_object_get_ex(args, "now", &now) && json_object_get_boolean(now);
	smtpc_walk_begin(&q->walk, call, look, request_free);
}

void
smtpc_close_init(struct ga_inst *inst)
{
	ga_control_register(inst, "close_connection", "end one connection for delivering mail",
	    ask_close, NULL);
}
