/*
 * spool_memory.h - what a test may look at in the spool that lives in memory.
 *
 * The store outlives the module's instance: a bed that goes down and comes up
 * again recovers what was committed.
 */
#ifndef TESTS_DOUBLES_SPOOL_MEMORY_H
#define TESTS_DOUBLES_SPOOL_MEMORY_H

#include <greenarrow/service/spool.h>

struct spool_memory_counts {
	uint64_t commits, updates, dones, ends, reads;
	uint64_t live;				/* messages */
	unsigned uploads;			/* begun, not yet committed or aborted */
};
void spool_memory_counts(struct spool_memory_counts *);
/* The message as a reader gets it: one reference; NULL when it is not there. */
struct ga_message *spool_memory_message(uint64_t seq);
uint64_t spool_memory_last_seq(void);
/* The next commit ends in this errno; 0: none. */
void spool_memory_fail(int error);
/* The next piece of an upload does, and so will the upload's commit. */
void spool_memory_fail_piece(int error);
/* Put in as if it had been there at the last start; takes the reference over. */
void spool_memory_put(struct ga_message *);
void spool_memory_forget_all(void);

#endif
