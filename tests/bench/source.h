/*
 * source.h - what the files of ga_smtp_source share.
 *
 * One process, one loop, no threads.  struct source is the whole state of the
 * program; a struct src_session is one connection slot, which is connected
 * anew as often as needed.
 */
#ifndef BENCH_SOURCE_H
#define BENCH_SOURCE_H

#include <ev.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <uthash.h>

#include "hist.h"
#include "opt.h"
#include "wire.h"

enum src_pipelining { PIPE_NO, PIPE_YES, PIPE_CHAIN };

struct src_options {
	uint64_t sessions, messages, duration_us, per_connection;
	uint64_t size, recipients, domains, timeout_us, retry_us;
	const char *to, *from, *domain_list, *message_file;
	const char *pipelining, *helo, *source, *run_id;
	const char *acked_log, *unknown_log;
	bool starttls, json;
};

/* What every message is made of: a head of its own, then the same rest. */
#define SRC_ID_MAX 64
struct src_content {
	char *rest;		/* dot-stuffed, and ended with CRLF.CRLF */
	size_t rest_len;
	size_t size;		/* as announced in SIZE=, with the head */
	bool eight_bit, own_header;
};

/* Failures of one reply code (or of the connection, code 0). */
struct src_failure {
	char key[32];		/* "451 eom", "connect", "lost" */
	uint64_t count;
	char first[256];	/* the first reply of the kind */
	UT_hash_handle hh;
};

struct src_addrs {
	struct sockaddr_storage *item;
	size_t count;
	socklen_t len;
};

struct source {
	struct src_options opt;
	enum src_pipelining pipelining;
	struct sockaddr_storage target;
	socklen_t target_len;
	struct src_addrs from;
	char **domain;
	size_t domains;
	struct src_content content;
	gnutls_certificate_credentials_t cred;
	int acked_fd, unknown_fd;

	uint64_t next_seq;
	bool stop;		/* start no further message */
	size_t live;		/* slots that are not finished */
	uint64_t start_us, first_us, last_us, progress_us;
	uint64_t accepted, recipients, refused_recipients, bytes;
	uint64_t failed, unknown;
	uint64_t connections, open, peak;
	struct hist latency;
	struct src_failure *failures;
};

/* One transaction on its way. */
struct src_txn {
	bool active, failed;	/* failed: counted as such already */
	uint64_t seq, ok_rcpts, eod_us;
};

/* Which command a reply belongs to.  From X_MAIL on, a reply moves a message on. */
enum src_expect { X_BANNER, X_EHLO, X_STARTTLS, X_MAIL, X_RCPT, X_DATA, X_EOM, X_RSET, X_QUIT, X_KINDS };

struct src_reply {
	unsigned code;
	bool last;
	const char *text;	/* the whole line */
};

struct src_session {
	struct wire w;
	struct source *src;
	size_t number;
	ev_timer retry;
	bool connected, finished, can_pipeline, can_starttls, can_size, can_8bit;
	enum src_expect *expect;	/* a ring */
	size_t ring, expect_at, expect_len;
	uint64_t on_connection;	/* messages begun on this connection */
	struct src_txn sending, waiting;
	uint64_t rcpts_sent;
	size_t body_at;		/* in the content's rest */
	bool in_body;
};

/* source_session.c */
void src_session_start(struct source *, struct src_session *, size_t number);
void src_session_free(struct src_session *);

/* source_message.c */
void src_content_make(struct source *);
void src_id(const struct source *, uint64_t seq, char *id);
/* The head of message seq into buf; returns its length. */
#define SRC_HEAD_MAX 1024
size_t src_head(const struct source *, uint64_t seq, char *buf);
/* MAIL or RCPT with its address, expanded for message seq and recipient rcpt. */
size_t src_command(const struct source *, const char *verb, const char *pattern, uint64_t seq,
	uint64_t rcpt, char *buf, size_t size);

/* source_report.c */
void src_accepted(struct source *, const struct src_txn *);
void src_unknown(struct source *, const struct src_txn *);
/* A message failed; a problem that cost no message (connecting, greeting). */
void src_failed(struct source *, unsigned code, const char *stage, const char *text);
void src_problem(struct source *, unsigned code, const char *stage, const char *text);
void src_report(struct source *, FILE *);

#endif
