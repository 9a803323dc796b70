/* Fetches policies as senders do: a new connection, a full handshake (never resumed), one GET, read to the end.

   cc -O2 -o tls_fetch tls_fetch.c -lssl -lcrypto -lpthread
   tls_fetch PORT NAME_FORMAT NAMES THREADS FETCHES [CA_FILE]

   To 127.0.0.1 alone. Fetch i asks for printf(NAME_FORMAT, i % NAMES). With CA_FILE chain and name are verified.
   Prints JSON: good and bad fetches, resumed sessions (0, or the figures are worth nothing), microseconds. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static SSL_CTX *context;
static const char *name_format;
static int port, names, verify;
static long fetches, next_fetch, good, bad, resumed;
static float *taken; /* microseconds of each fetch */

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static int connect_to_server(void) {
    int handle = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {20, 0};
    struct linger reset = {1, 0}; /* no TIME_WAIT: a benchmark would run out of ports */
    if (handle < 0) return -1;
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    setsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(handle, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(handle, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (connect(handle, (struct sockaddr *)&address, sizeof address) == 0) return handle;
    close(handle);
    return -1;
}

static int fetch(const char *name, int *was_resumed) {
    char request[600], answer[8192];
    int handle = connect_to_server(), size, part, filled = 0, is_good = 0;
    if (handle < 0) return 0;
    SSL *tls = SSL_new(context);
    SSL_set_fd(tls, handle);
    SSL_set_tlsext_host_name(tls, name);
    if (verify) SSL_set1_host(tls, name);
    if (SSL_connect(tls) == 1) {
        size = snprintf(request, sizeof request,
                        "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: %s\r\nUser-Agent: tls_fetch\r\n"
                        "Connection: close\r\n\r\n", name);
        SSL_write(tls, request, size);
        while (filled < (int)sizeof answer - 1 &&
               (part = SSL_read(tls, answer + filled, sizeof answer - 1 - filled)) > 0)
            filled += part;
        answer[filled] = 0;
        is_good = !strncmp(answer, "HTTP/1.1 200", 12) && strstr(answer, "\r\n\r\nversion: STSv1\r\n");
        *was_resumed = SSL_session_reused(tls);
    }
    SSL_free(tls);
    close(handle);
    return is_good;
}

static void *run(void *nothing) {
    char name[300];
    long number;
    (void)nothing;
    while ((number = __sync_fetch_and_add(&next_fetch, 1)) < fetches) {
        int was_resumed = 0;
        double began = now();
        snprintf(name, sizeof name, name_format, (int)(number % names));
        if (fetch(name, &was_resumed)) __sync_fetch_and_add(&good, 1);
        else __sync_fetch_and_add(&bad, 1);
        if (was_resumed) __sync_fetch_and_add(&resumed, 1);
        taken[number] = (now() - began) * 1e6;
    }
    return NULL;
}

static int compare(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return a < b ? -1 : a > b;
}

int main(int count, char **words) {
    pthread_t threads[256];
    if (count < 6) return 2;
    signal(SIGPIPE, SIG_IGN);
    port = atoi(words[1]);
    name_format = words[2];
    names = atoi(words[3]);
    int workers = atoi(words[4]);
    fetches = atol(words[5]);
    if (names < 1 || workers < 1 || workers > 256 || fetches < 1) return 2;
    taken = calloc(fetches, sizeof *taken);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (count > 6) {
        verify = 1;
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        if (SSL_CTX_load_verify_locations(context, words[6], NULL) != 1) return 3;
    }
    double began = now();
    for (int i = 0; i < workers; i++) pthread_create(threads + i, NULL, run, NULL);
    for (int i = 0; i < workers; i++) pthread_join(threads[i], NULL);
    double seconds = now() - began;
    qsort(taken, fetches, sizeof *taken, compare);
    printf("{\"good\": %ld, \"bad\": %ld, \"resumed\": %ld, \"seconds\": %.3f, \"p50_us\": %.0f, \"p99_us\": %.0f, "
           "\"max_us\": %.0f}\n",
           good, bad, resumed, seconds, taken[fetches / 2], taken[(long)(fetches * 0.99)], taken[fetches - 1]);
    return 0;
}
