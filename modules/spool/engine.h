/*
 * engine.h - the spool without its module: shared by the files of this folder.
 *
 * Two threads drive it: the committer (commit.c) and the maintenance thread
 * (maint.c); each is a loop around one step function, which tests call by hand.
 * Loops only put requests into the inboxes.  What both threads touch is under
 * ledger.lock; the rest has one owner, named below.
 */
#ifndef SPOOL_ENGINE_H
#define SPOOL_ENGINE_H

#include <greenarrow/loop.h>

#include "inbox.h"
#include "ledger.h"

#define SPOOL_READY 2u			/* segments made in advance */
#define SPOOL_READY_MAX 6u		/* with those that were recycled */
#define SPOOL_RESERVE 2u		/* and those that new mail may not use */
#define SPOOL_PIECE (256u * 1024)	/* largest BODY record */
#define SPOOL_SEQ_GAP (1u << 20)	/* skipped at start: what a torn tail may have used */

struct spool_conf {
	uint64_t segment_size;
	uint64_t min_free;
	uint64_t large;			/* bodies over this go to segments of bodies */
	bool fsync;
	bool prefill;			/* write zeros into new segments */
	uint64_t batch_bytes;
	uint32_t batch_records;
	uint32_t retry_ms;		/* wait after the second failed write in a row */
};

enum op_kind {
	OP_COMMIT = 1, OP_UPDATE, OP_DONE, OP_STATE, OP_COPY,		/* committer */
	OP_READ, OP_READ_BODY, OP_PIECE, OP_ABORT, OP_RECOVER, OP_FED	/* maintenance */
};

/* put_state(); freed once synced. */
struct op_state {
	struct ga_spool_link link;
	struct ga_str key, value;	/* behind it */
	char bytes[];
};

/* What recover() asked. */
struct op_recover {
	struct ga_spool_link link;
	unsigned index, count;		/* of the loop that asked */
	struct ga_spool_recovery r;
};

/* A record that compaction writes again.  It is not written when what it was made
 * from is no longer current; that is no error. */
struct op_copy {
	struct ga_spool_link link;
	struct rec_header h;		/* lengths and CRCs are set */
	struct ga_str meta, body;	/* one malloc at meta.p */
	uint32_t segment;		/* slot where the original is */
	uint64_t seq;			/* of the message; STATE: unused */
	uint32_t envelope;
	struct table_slot *slots;	/* MESSAGE: the state that was copied */
	int error;
};

struct ga_spool_upload {
	struct ga_spool_link link;	/* for abort */
	struct rec_piece *pieces;	/* maintenance thread only */
	uint32_t npieces;
	uint64_t size;
	int error;
};

struct void_tail {			/* a failed segment whose ABANDON is not synced */
	uint64_t segment, cut;
};

struct commit_batch;
struct maint;

struct spool_stats {
	atomic_ullong commits, updates, dones, batches, syncs, records;
	atomic_ullong sync_us_total, sync_us_max, compacted, quarantined, failed_syncs;
	atomic_ullong free_bytes;
	atomic_bool full;
};

/* How much of the reserve something may use. */
enum spool_reserve_use { SPOOL_NO_RESERVE, SPOOL_NOT_THE_LAST, SPOOL_ALL };

struct spool {
	const struct spool_fs *fs;
	int dir, corrupt;		/* queue/spool, queue/corrupt */
	struct spool_conf conf;
	void (*post)(struct ga_worker *, struct ga_post *);	/* ga_loop_post */
	void (*log)(void *ctx, enum ga_level, const char *tag, const char *text);
	void *log_ctx;

	struct ledger ledger;		/* its lock also covers the next block */
	struct segment *ready[SPOOL_READY_MAX], *reserve[SPOOL_RESERVE];
	uint32_t nready, nreserve;
	uint64_t next_seq, next_number;
	struct segment *active;		/* written by the committer */
	enum spool_reserve_use active_for;	/* who may go so far may write to it */
	bool no_room;			/* the last attempt to make a segment failed */

	struct spool_inbox commits, chores;
	struct spool_stats stats;
	struct commit_batch *batch;	/* the committer's */
	struct maint *maint;		/* the maintenance thread's */
	atomic_bool recovered;		/* the committer may begin */
	atomic_bool closing;		/* and end when it has nothing to do */
};

void spool_log(struct spool *, enum ga_level, const char *tag, const char *fmt, ...) GA_PRINTF(4, 5);

/* engine.c.  dir and corrupt stay the caller's.  open: looks at every header,
 * makes nothing; 0 or a positive errno, the reason logged. */
struct spool *spool_new(const struct spool_fs *, int dir, int corrupt, const struct spool_conf *,
    void (*post)(struct ga_worker *, struct ga_post *),
    void (*log)(void *, enum ga_level, const char *, const char *), void *log_ctx);
void spool_free(struct spool *);	/* writes nothing */
/* The request is over: its callback is posted, or it is freed. */
void spool_finish(struct spool *, struct ga_spool_link *, int error);
/* The request will never be answered: frees what the spool owns of it. */
void spool_forget(struct spool *, struct ga_spool_link *);
uint64_t spool_draw_seq(struct spool *);
uint64_t spool_now_us(const struct spool *);	/* monotonic */
void spool_get_stats(struct spool *, struct ga_spool_stats *);
int spool_room(struct spool *, uint64_t octets);

/* Requests, from a loop. */
void spool_commit(struct spool *, struct ga_worker *, struct ga_spool_commit *);
void spool_update(struct spool *, struct ga_worker *, struct ga_spool_update *);
void spool_done(struct spool *, struct ga_worker *, struct ga_spool_done *);
void spool_put_state(struct spool *, struct ga_worker *, struct ga_str key, struct ga_str value);
void spool_read(struct spool *, struct ga_worker *, struct ga_spool_read *);
void spool_read_body(struct spool *, struct ga_worker *, struct ga_spool_read_body *);
struct ga_spool_upload *spool_upload_begin(void);
void spool_upload_piece(struct spool *, struct ga_worker *, struct ga_spool_piece *);
void spool_upload_abort(struct spool *, struct ga_worker *, struct ga_spool_upload *);
void spool_recover(struct spool *, struct ga_worker *, unsigned index, unsigned count,
    const struct ga_spool_recovery *);

/* commit.c: one batch.  Milliseconds until it is worth calling again: 0 at once,
 * -1 when a request comes. */
int commit_step(struct spool *);
struct commit_batch *commit_new(void);
void commit_free(struct spool *);
void commit_seal(struct spool *);	/* at the end: the active segment is complete */

/* maint.c: requests, then one slice of housekeeping; the same answer. */
int maint_step(struct spool *);
struct maint *maint_new(void);
void maint_measure(struct spool *);
void maint_free(struct spool *);
/* The first segments, before the committer begins. */
void maint_prepare(struct spool *);
/* All there is to do now, done (at the end, and by tests). */
void maint_settle(struct spool *);

/* provide.c: makes, indexes, removes segment files.  True when it did something. */
struct provision;
bool provide_step(struct spool *, struct provision *);
struct provision *provide_new(void);
void provide_free(struct spool *, struct provision *);
/* A segment of bodies with this much room, made if need be; NULL: *error. */
struct segment *provide_bodies(struct spool *, struct provision *, uint64_t room, int *error);

/* It could not be written or synced: no more goes there. */
void provide_bodies_failed(struct spool *, struct provision *, struct segment *);

/* compact.c */
struct compaction;
bool compact_step(struct spool *, struct compaction *);	/* true: something was done */
struct compaction *compact_new(void);
void compact_free(struct compaction *);
void compact_copied(struct spool *, struct compaction *, struct op_copy *);	/* frees it */
void copy_free(struct op_copy *);
bool compact_idle(const struct compaction *);

/* recover.c.  open: names and headers only; load: all that is on disk into the
 * ledger.  0 or a positive errno, the reason logged. */
int recover_open(struct spool *);
int recover_load(struct spool *);

/* feed.c: found() */
struct feed;
bool feed_step(struct spool *, struct feed *);
struct feed *feed_new(void);
void feed_free(struct feed *);
void feed_add(struct feed *, struct ga_spool_link *);
void feed_fed(struct ga_spool_link *);	/* a post has come back */
bool feed_busy(const struct feed *);
void feed_prepare(struct spool *, struct feed *);	/* after recover_load */
/* Header and meta of a record from an index in memory; false: not to be had so. */
struct index_cache;
bool cache_meta(struct spool *, struct index_cache *, const struct segment *, uint32_t offset,
    struct rec_header *, struct ga_str *meta);
struct index_cache *cache_new(void);
void cache_free(struct index_cache *);

/* read.c */
void read_request(struct spool *, struct ga_spool_read *);
void read_body_request(struct spool *, struct ga_spool_read_body *);
/* A live message as it stands: where, and the state of its envelopes.  false: none. */
struct located {
	uint64_t seq;
	struct segment *segment;
	uint32_t offset, nslots;
	struct table_slot *slots;	/* to be freed */
};
bool read_locate(struct spool *, uint64_t seq, struct located *);
/* Without body.  cache may be NULL.  NULL: *error. */
struct ga_message *read_build(struct spool *, struct index_cache *, const struct located *, struct ga_str meta,
    int *error);
/* One whole record at this place, checked; *buf is to be freed. */
int read_record(struct spool *, const struct segment *, uint32_t offset, struct rec_header *,
    unsigned char **buf, bool with_body);

/* upload.c: the maintenance thread's half */
void upload_piece(struct spool *, struct provision *, struct ga_spool_piece *);
void upload_commit(struct spool *, struct provision *, struct ga_spool_commit *);
/* After the commit is synced or refused: the pieces are the message's, or nobody's. */
void upload_release(struct spool *, struct ga_spool_upload *);

/* Keeps octets that are no record in queue/corrupt/, and says so: damage as an error, a
 * torn tail as a warning. */
void set_aside_octets(struct spool *, const struct segment *, uint64_t from, uint64_t to, const void *bytes,
    bool torn);

#endif
