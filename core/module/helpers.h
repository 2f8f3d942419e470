/*
 * helpers.h - a few threads for what would block a loop.
 */
#ifndef CORE_MODULE_HELPERS_H
#define CORE_MODULE_HELPERS_H

struct gac_job {
	struct gac_job *next;
	void (*run)(struct gac_job *);	/* on a helper thread; owns the job */
};

/* Any thread.  The threads are made with the first job. */
void gac_helpers_run(struct gac_job *);
/* Waits for what was started and ends the threads; jobs not started are run. */
void gac_helpers_stop(void);

#endif
