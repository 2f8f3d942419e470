/*
 * module.h - what spool.c and queue_check.c share: the directories and the lock.
 */
#ifndef SPOOL_MODULE_H
#define SPOOL_MODULE_H

#include <stdbool.h>
#include <stddef.h>

struct ga_inst;

struct spool_dirs {
	int spool, corrupt, lock;
};
#define SPOOL_DIRS_CLOSED { -1, -1, -1 }

/* queue/spool and queue/corrupt, made when wanted, and queue/spool/lock held. */
bool spool_dirs_open(struct spool_dirs *, const char *queue, bool make, char *why, size_t n);
void spool_dirs_close(struct spool_dirs *);

int queue_check(struct ga_inst *, int argc, char **argv);

#endif
