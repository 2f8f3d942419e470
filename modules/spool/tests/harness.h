/*
 * harness.h - a spool on memfs, stepped by hand, and a memory of what it promised.
 *
 * The rig makes mail, finishes it, remembers every answer, and after a restart
 * says whether all that was promised is there and nothing else.
 */
#ifndef SPOOL_TESTS_HARNESS_H
#define SPOOL_TESTS_HARNESS_H

#include "../engine.h"
#include "memfs.h"

#define RIG_MAIL 2048
#define RIG_RCPT 3
#define RIG_SEGMENT (32u * 1024)

struct rig;

struct rig_env {
	struct ga_spool_done done;
	struct ga_spool_update update;
	bool done_asked, done_acked;
	bool ended_asked;		/* as one group with a bounce */
	uint32_t attempts_asked, attempts_acked;
};

struct rig_mail {
	struct rig *r;
	struct ga_message *m;
	struct ga_spool_commit commit;
	struct ga_spool_end end;	/* what a bounce reports */
	struct rig_mail *bounced;
	uint32_t id, nenv;
	size_t size;
	uint64_t seq;
	bool answered;
	int error;
	struct rig_env env[RIG_RCPT];
	unsigned found;			/* by the last recovery */
};

struct rig {
	struct memfs *disk;
	struct spool_fs fs;
	struct spool_conf conf;
	struct spool *s;
	struct ga_post *posts, **posts_end;
	struct rig_mail *mail[RIG_MAIL];
	unsigned nmail;
	unsigned errors, warnings;	/* lines in the log */
	bool loud;
	unsigned strangers;		/* found, but never handed in */
	bool ended;			/* recovery */
	char state[64];			/* what it told of the key "k" */
};

void rig_init(struct rig *);
void rig_fini(struct rig *);
int rig_open(struct rig *);		/* start; positive errno */
void rig_pump(struct rig *);		/* until nothing happens any more, or the power is gone */
void rig_close(struct rig *);		/* as the daemon does, in order */
void rig_drop(struct rig *);		/* as if killed */

/* Hands mail in; pump for the answer. */
struct rig_mail *rig_mail(struct rig *, uint32_t nenv, size_t size);
struct rig_mail *rig_bounce(struct rig *, struct rig_mail *of, uint32_t envelope);
void rig_done(struct rig *, struct rig_mail *, uint32_t envelope);
void rig_update(struct rig *, struct rig_mail *, uint32_t envelope);
bool rig_alive(const struct rig_mail *);	/* must it be there? */

/* recover() on one loop, then the verdict.  may_lose: what was damaged on purpose
 * may be missing; it must still not be wrong. */
void rig_recover(struct rig *);
void rig_verify(struct rig *, bool may_lose);
/* Every octet of every live body. */
void rig_verify_bodies(struct rig *, bool may_lose);

#endif
