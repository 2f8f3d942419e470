/*
 * variable.c - variables of a session, which tcpserver would have put into its environment.
 *
 * A list in the session's pool, on the session's loop.  There are as many as
 * an administrator wrote for one service and one client, so a list is enough; a session
 * without any costs nothing.
 */
#include "config.h"

#include "module/call.h"
#include "module/txn.h"

struct gac_variable {
	struct gac_variable *next;
	struct ga_str name, value;
	bool unset;
};

static void
put(struct ga_session *s, struct ga_str name, struct ga_str value, bool unset)
{
	struct ga_pool *pool = ga_session_pool(s);
	struct gac_variable *v = ga_alloc(pool, sizeof *v);

	*v = (struct gac_variable){ s->variables, ga_dup(pool, name), ga_dup(pool, value), unset };
	s->variables = v;
}

void
ga_session_variable_set(struct ga_session *s, struct ga_str name, struct ga_str value)
{
	put(s, name, value, false);
}

void
ga_session_variable_unset(struct ga_session *s, struct ga_str name)
{
	struct ga_str none = { "", 0 };

	if (ga_session_variable(s, name, NULL))
		put(s, name, none, true);
}

bool
ga_session_variable(const struct ga_session *s, struct ga_str name, struct ga_str *value)
{
	const struct gac_variable *v = s->variables;

	while (v != NULL && !ga_str_eq(v->name, name))
		v = v->next;
	if (v == NULL || v->unset)
		return false;
	if (value != NULL)
		*value = v->value;
	return true;
}

void
ga_session_variables_clear(struct ga_session *s)
{
	s->variables = NULL;
	s->plan = s->service_plan;
}

struct ga_session *
ga_call_session(const struct ga_call *call)
{
	return call->run->session;
}
