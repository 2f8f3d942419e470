/*
 * variables.c - see variables.h.
 *
 * Called by session.c, on the session's loop.  What environment_file exports is set before the
 * modules are asked in connect, which may set more or others.  When the client turns out to be
 * another one (XCLIENT), all is forgotten and begins anew.
 */
#include "variables.h"

void
smtpd_variables_begin(struct smtpd_session *s)
{
	const struct smtpd_variable *v = s->gen->access.environment.first;

	ga_session_variables_clear(s->ga);
	for (; v != NULL; v = v->next)
		if (v->exported)
			ga_session_variable_set(s->ga, v->name, v->value);
}
