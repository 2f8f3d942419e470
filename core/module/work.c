/*
 * work.c - ga_work(): a piece of work on a helper thread, its end on the loop.
 *
 * Called by modules of level strict on their loops.  ga_await_work() is the same
 * for a hook, which may end before its work does; here the caller waits for done.
 */
#include "config.h"

#include <stdlib.h>

#include <greenarrow/loop.h>

#include "module/helpers.h"

struct work_job {
	struct gac_job job;
	struct ga_work *work;
};

static void
work_over(struct ga_worker *worker, struct ga_post *post)
{
	struct ga_work *work = GA_CONTAINER(post, struct ga_work, post_);

	work->done(worker, work);
}

static void
do_work(struct gac_job *job)
{
	struct work_job *j = GA_CONTAINER(job, struct work_job, job);
	struct ga_work *work = j->work;

	free(j);
	work->run(work);
	work->post_.fn = work_over;
	ga_loop_post(work->worker_, &work->post_);
}

void
ga_work(struct ga_worker *worker, struct ga_work *work)
{
	struct work_job *j = ga_xcalloc(1, sizeof *j);

	work->worker_ = worker;
	j->work = work;
	j->job.run = do_work;
	gac_helpers_run(&j->job);
}
