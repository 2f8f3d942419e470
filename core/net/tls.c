/*
 * tls.c - credentials of TLS: certificates we show, certificates we trust.
 *
 * A ga_tls_server is what one listener shows: made by its module when a
 * configuration is read, shared by reference with the sessions that use it, so a
 * reload replaces it without touching them.  Its ticket key is its own: a ticket
 * of one listener says nothing to another.  Client credentials are the same for
 * all: no certificate of ours, the system's trust.  GnuTLS only reads both.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls.h"

#define VERSIONS "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* A hostile chain must not cost more than it is worth. */
enum { VERIFY_BITS = 8200, VERIFY_DEPTH = 10 };

struct ga_tls_server {
	uint32_t refs;			/* atomic */
	gnutls_certificate_credentials_t credentials;
	gnutls_datum_t ticket_key;
};

static struct {
	pthread_once_t plain_once, trust_once;
	gnutls_certificate_credentials_t plain, trusting;
	gnutls_priority_t client_priority, server_priority;
} tls = { .plain_once = PTHREAD_ONCE_INIT, .trust_once = PTHREAD_ONCE_INIT };

/* Only lack of memory makes these fail, or a GnuTLS that cannot do TLS 1.2. */
static void must(int code, const char *what)
{
	if (code >= 0)
		return;
	fprintf(stderr, "TLS: %s: %s\n", what, gnutls_strerror(code));
	exit(1);
}

static void init_plain(void)
{
	must(gnutls_certificate_allocate_credentials(&tls.plain), "credentials");
	must(gnutls_priority_init(&tls.client_priority, VERSIONS, NULL), "priorities");
	must(gnutls_priority_init(&tls.server_priority, VERSIONS ":%SERVER_PRECEDENCE", NULL), "priorities");
}

static void init_trust(void)
{
	must(gnutls_certificate_allocate_credentials(&tls.trusting), "credentials");
	gnutls_certificate_set_verify_limits(tls.trusting, VERIFY_BITS, VERIFY_DEPTH);
	/* A machine without any is legal: then nothing verifies, and each result says so. */
	(void)gnutls_certificate_set_x509_system_trust(tls.trusting);
}

void gac_tls_init(void)
{
	pthread_once(&tls.plain_once, init_plain);
	pthread_once(&tls.trust_once, init_trust);
}

bool gac_tls_trust(const char *pem_file, char *err, size_t errlen)
{
	int n;

	gac_tls_init();
	n = gnutls_certificate_set_x509_trust_file(tls.trusting, pem_file, GNUTLS_X509_FMT_PEM);
	if (n > 0)
		return true;
	snprintf(err, errlen, "%s: %s", pem_file, n == 0 ? "no certificate in it" : gnutls_strerror(n));
	return false;
}

int gac_tls_setup_client(gnutls_session_t session, bool verify)
{
	int e;

	pthread_once(&tls.plain_once, init_plain);
	if (verify)
		pthread_once(&tls.trust_once, init_trust);
	e = gnutls_priority_set(session, tls.client_priority);
	if (e < 0)
		return e;
	return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, verify ? tls.trusting : tls.plain);
}

int gac_tls_setup_server(gnutls_session_t session, struct ga_tls_server *server)
{
	int e = gnutls_priority_set(session, tls.server_priority);

	if (e >= 0)
		e = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, server->credentials);
	if (e >= 0)
		e = gnutls_session_ticket_enable_server(session, &server->ticket_key);
	return e;
}

static void free_server(struct ga_tls_server *server)
{
	if (server->credentials != NULL)
		gnutls_certificate_free_credentials(server->credentials);
	if (server->ticket_key.data != NULL) {
		gnutls_memset(server->ticket_key.data, 0, server->ticket_key.size);
		gnutls_free(server->ticket_key.data);
	}
	free(server);
}

struct ga_tls_server *ga_tls_server_new(const char *cert_file, const char *key_file, char *err,
    size_t errlen)
{
	struct ga_tls_server *server = ga_xcalloc(1, sizeof(*server));
	int e;

	pthread_once(&tls.plain_once, init_plain);
	server->refs = 1;
	e = gnutls_certificate_allocate_credentials(&server->credentials);
	if (e >= 0)
		e = gnutls_certificate_set_known_dh_params(server->credentials, GNUTLS_SEC_PARAM_MEDIUM);
	if (e >= 0)
		e = gnutls_session_ticket_key_generate(&server->ticket_key);
	if (e >= 0)
		e = gnutls_certificate_set_x509_key_file2(server->credentials, cert_file, key_file,
		    GNUTLS_X509_FMT_PEM, NULL, 0);
	if (e >= 0)
		return server;
	snprintf(err, errlen, "certificate %s with key %s: %s", cert_file, key_file, gnutls_strerror(e));
	free_server(server);
	return NULL;
}

struct ga_tls_server *ga_tls_server_ref(struct ga_tls_server *server)
{
	__atomic_fetch_add(&server->refs, 1, __ATOMIC_RELAXED);
	return server;
}

void ga_tls_server_unref(struct ga_tls_server *server)
{
	if (server != NULL && __atomic_sub_fetch(&server->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free_server(server);
}
