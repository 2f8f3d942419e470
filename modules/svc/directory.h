/*
 * directory.h - a service directory as supervise keeps it.
 *
 *   DIR/supervise/control   FIFO: svc writes octets into it
 *   DIR/supervise/ok        FIFO: can be opened for writing while we have it open
 *   DIR/supervise/lock      locked by whoever has the directory
 *   DIR/supervise/status    SVC_RECORD octets
 *   DIR/down                made by the operator: stay down at start
 *
 * All of this blocks but svc_directory_close(); any thread.
 */
#ifndef SVC_DIRECTORY_H
#define SVC_DIRECTORY_H

#include <stddef.h>
#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

struct svc_directory {
	int control;			/* to read; never at its end: open for writing too */
	int ok, lock;
};
#define SVC_DIRECTORY_CLOSED ((struct svc_directory){ -1, -1, -1 })

/* Makes what is missing, takes over what a process left that is no more.  False: why has the file and
 * the reason. */
bool svc_directory_open(struct svc_directory *, const char *path, char *why, size_t room);
void svc_directory_close(struct svc_directory *);

/* The time as TAI64N, the process id (little-endian), paused, wanted. */
#define SVC_RECORD 18
void svc_record(unsigned char out[SVC_RECORD], struct timespec since, pid_t pid, char want);
/* Replaces status at once.  0 or an errno. */
int svc_directory_status(const char *path, const unsigned char record[SVC_RECORD]);

bool svc_directory_marked_down(const char *path);

#endif
