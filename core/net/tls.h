/*
 * tls.h - credentials and remembered sessions, shared by the streams.
 */
#ifndef CORE_NET_TLS_H
#define CORE_NET_TLS_H

#include <gnutls/gnutls.h>

#include <greenarrow/net.h>

/*
 * Loads the system's trusted certificates (tens of milliseconds).  Called before
 * the loops run; without it the first verification pays.  Any thread, any number
 * of times.
 */
void gac_tls_init(void);
/* Also trust the certificates in this PEM file.  Before the loops run. */
bool gac_tls_trust(const char *pem_file, char *err, size_t errlen);

/* What a session of either side is made with; 0 or a GnuTLS error. */
int gac_tls_setup_server(gnutls_session_t, struct ga_tls_server *);
int gac_tls_setup_client(gnutls_session_t, bool verify);

/*
 * Sessions to resume, of the calling loop; bounded, the least recently used goes
 * first.  The key is octets.
 */
void gac_tls_remember(struct ga_str key, gnutls_session_t);
/* Sets remembered data, if there is any. */
void gac_tls_recall(struct ga_str key, gnutls_session_t);

#endif
