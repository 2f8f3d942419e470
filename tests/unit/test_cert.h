/*
 * test_cert.h - certificates made when a test runs: an authority, and a server
 * certificate of it for one name, written as PEM files.
 */
#ifndef GA_TESTS_UNIT_TEST_CERT_H
#define GA_TESTS_UNIT_TEST_CERT_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct test_certs {
	char dir[64], ca[128], cert[128], key[128];
};

static inline void test_cert_must(int code, const char *what)
{
	if (code >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, gnutls_strerror(code));
	abort();
}

static inline void test_cert_write(const char *path, gnutls_datum_t *pem)
{
	FILE *f = fopen(path, "w");

	if (f == NULL || fwrite(pem->data, 1, pem->size, f) != pem->size || fclose(f) != 0)
		abort();
	gnutls_free(pem->data);
}

static inline gnutls_x509_privkey_t test_cert_key(void)
{
	gnutls_x509_privkey_t key;

	gnutls_x509_privkey_init(&key);
	test_cert_must(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
	    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0), "key");
	return key;
}

/* issuer NULL: signed by itself, an authority. */
static inline gnutls_x509_crt_t test_cert_crt(const char *name, gnutls_x509_privkey_t key, unsigned char serial,
    gnutls_x509_crt_t issuer, gnutls_x509_privkey_t issuer_key)
{
	gnutls_x509_crt_t crt;

	gnutls_x509_crt_init(&crt);
	test_cert_must(gnutls_x509_crt_set_version(crt, 3), "version");
	test_cert_must(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
	    (unsigned)strlen(name)), "name");
	test_cert_must(gnutls_x509_crt_set_key(crt, key), "key");
	test_cert_must(gnutls_x509_crt_set_serial(crt, &serial, 1), "serial");
	gnutls_x509_crt_set_activation_time(crt, time(NULL) - 3600);
	gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 86400);
	gnutls_x509_crt_set_ca_status(crt, issuer == NULL);
	gnutls_x509_crt_set_key_usage(crt, issuer == NULL ? GNUTLS_KEY_KEY_CERT_SIGN : GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (issuer != NULL)
		test_cert_must(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, name,
		    (unsigned)strlen(name), GNUTLS_FSAN_SET), "alternative name");
	test_cert_must(gnutls_x509_crt_sign2(crt, issuer == NULL ? crt : issuer, issuer == NULL ? key : issuer_key,
	    GNUTLS_DIG_SHA256, 0), "sign");
	return crt;
}

static inline void test_certs_make(struct test_certs *t, const char *name)
{
	gnutls_x509_privkey_t ca_key = test_cert_key(), key = test_cert_key();
	gnutls_x509_crt_t ca = test_cert_crt("Test Authority", ca_key, 1, NULL, NULL);
	gnutls_x509_crt_t crt = test_cert_crt(name, key, 2, ca, ca_key);
	gnutls_datum_t pem;

	snprintf(t->dir, sizeof(t->dir), "/tmp/ga-certs-XXXXXX");
	if (mkdtemp(t->dir) == NULL)
		abort();
	snprintf(t->ca, sizeof(t->ca), "%s/ca.pem", t->dir);
	snprintf(t->cert, sizeof(t->cert), "%s/cert.pem", t->dir);
	snprintf(t->key, sizeof(t->key), "%s/key.pem", t->dir);
	test_cert_must(gnutls_x509_crt_export2(ca, GNUTLS_X509_FMT_PEM, &pem), "ca");
	test_cert_write(t->ca, &pem);
	test_cert_must(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem), "certificate");
	test_cert_write(t->cert, &pem);
	test_cert_must(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem), "key");
	test_cert_write(t->key, &pem);
	gnutls_x509_crt_deinit(ca);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(ca_key);
	gnutls_x509_privkey_deinit(key);
}

static inline void test_certs_remove(struct test_certs *t)
{
	remove(t->ca);
	remove(t->cert);
	remove(t->key);
	remove(t->dir);
}

#endif
