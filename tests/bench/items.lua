-- wrk: each request makes an item.
wrk.method = "POST"
wrk.body = '{"name":"crowd","description":"one of many"}'
