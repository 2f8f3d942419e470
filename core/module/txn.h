/*
 * txn.h - the core's part of sessions and transactions.
 */
#ifndef CORE_MODULE_TXN_H
#define CORE_MODULE_TXN_H

#include <greenarrow/run.h>

struct gac_content_run;
struct gac_variable;

struct ga_session {
	struct ga_worker *worker;
	struct ga_snapshot *snapshot;
	struct ga_pool *pool;
	void **states;				/* by module index; made when asked for */
	struct gac_variable *variables;		/* variable.c; last set first */
	const struct ga_plan *service_plan, *plan;	/* all modules; those that did not leave */
};

struct gac_txn_private {
	void **states;				/* by module index; made when asked for */
	struct gac_content_run *content_run;	/* under way */
};
struct gac_txn_private *gac_txn_private(struct ga_txn *);
/* content_run.c: the transaction goes away while its content is looked at. */
void gac_content_run_cancel(struct gac_content_run *, enum ga_why);

#endif
