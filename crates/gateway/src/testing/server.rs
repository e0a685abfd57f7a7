//! A tool server that behaves as the tool that is called says, well or badly.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use aims_json::{Limits, Value, parse};
use aims_model::ServerSpec;
use aims_types::Name;
use async_trait::async_trait;
use tokio::io::{
    AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, duplex, empty,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::tool::{StartFault, ToolChild, ToolHost, ToolProcess};

/// The tools, each with what it does when called.
pub(crate) const TOOLS: [&str; 13] = [
    "asks", "change", "die", "echo", "error", "flood", "garbage", "hang", "long", "mismatch",
    "progress", "secret", "twice",
];

/// Where the servers run, and what they saw.
#[derive(Default)]
pub(crate) struct Bench {
    /// Every line that a server read.
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    /// How many servers run.
    pub(crate) running: Arc<AtomicUsize>,
    /// Whether `echo` is described differently.
    pub(crate) changed: Arc<AtomicBool>,
    /// A call of `hang` was read.
    pub(crate) hanging: Arc<Notify>,
    /// A call of `hang` is to be answered.
    pub(crate) release: Arc<Notify>,
    /// Whether servers can't be ended.
    pub(crate) stuck: Arc<AtomicBool>,
    /// What happens, once, in the middle of the next write of a call to a server.
    pub(crate) pause: Arc<Mutex<Option<Pause>>>,
    tasks: TaskTracker,
}

/// What happens while the gateway is stopped.
pub(crate) type Pause = Box<dyn FnOnce() + Send>;

/// The gateway's end of a server's input.
struct Input {
    pipe: DuplexStream,
    pause: Arc<Mutex<Option<Pause>>>,
}

struct BenchProcess {
    stuck: Arc<AtomicBool>,
    killed: CancellationToken,
    done: CancellationToken,
}

struct Server {
    seen: Arc<Mutex<Vec<String>>>,
    changed: Arc<AtomicBool>,
    hanging: Arc<Notify>,
    release: Arc<Notify>,
    output: DuplexStream,
}

#[async_trait]
impl ToolHost for Bench {
    async fn start(&self, _: &Name, _: &ServerSpec) -> Result<ToolChild, StartFault> {
        let (stdin, input) = duplex(1 << 20);
        let (output, stdout) = duplex(1 << 20);
        let (killed, done) = (CancellationToken::new(), CancellationToken::new());
        let server = Server {
            seen: Arc::clone(&self.seen),
            changed: Arc::clone(&self.changed),
            hanging: Arc::clone(&self.hanging),
            release: Arc::clone(&self.release),
            output,
        };
        let process = BenchProcess {
            stuck: Arc::clone(&self.stuck),
            killed: killed.clone(),
            done: done.clone(),
        };
        let running = Arc::clone(&self.running);
        running.fetch_add(1, Ordering::SeqCst);
        self.tasks.spawn(async move {
            tokio::select! {
                () = killed.cancelled() => {}
                () = server.run(input) => {}
            }
            running.fetch_sub(1, Ordering::SeqCst);
            done.cancel();
        });
        let pause = Arc::clone(&self.pause);
        let (stdin, stdout) = (Input { pipe: stdin, pause }, Box::new(stdout));
        let stdin = Box::new(stdin);
        Ok(ToolChild {
            stdin,
            stdout,
            stderr: Box::new(empty()),
            hidden: Vec::new(),
            process: Box::new(process),
        })
    }
}

#[async_trait]
impl ToolProcess for BenchProcess {
    async fn end(self: Box<Self>) -> io::Result<String> {
        if self.stuck.load(Ordering::SeqCst) {
            return Err(io::Error::other("it does not end"));
        }
        self.killed.cancel();
        self.done.cancelled().await;
        Ok("killed by signal 9".to_owned())
    }
}

impl Drop for BenchProcess {
    fn drop(&mut self) {
        self.killed.cancel();
    }
}

impl AsyncWrite for Input {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.windows(10).any(|part| part == b"tools/call")
            && let Some(pause) = self.pause.lock().unwrap().take()
        {
            pause();
        }
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

impl Server {
    async fn run(mut self, input: DuplexStream) {
        let mut lines = BufReader::new(input).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            self.seen.lock().unwrap().push(line.clone());
            let message = parse(line.as_bytes(), &Limits::DOCUMENT).unwrap();
            let text = |name: &str| {
                message
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let id = message.get("id").map_or(Value::Null, Clone::clone);
            match text("method") {
                "initialize" => {
                    let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"resources":{}},"serverInfo":{"name":"bench","version":"1"}}"#;
                    self.answer(&id, result).await;
                }
                "tools/list" => {
                    let second = message.get("params").is_some();
                    let page = self.page(second);
                    self.answer(&id, &page).await;
                }
                "tools/call" => {
                    let params = message.get("params").unwrap();
                    let name = params.get("name").unwrap().as_str().unwrap().to_owned();
                    let token = params
                        .get("_meta")
                        .and_then(|meta| meta.get("progressToken"));
                    if !self.call(&name, &id, token).await {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    fn page(&self, second: bool) -> String {
        let (first, rest) = TOOLS.split_at(5);
        let names = if second { rest } else { first };
        let tool = |name: &&str| {
            let changed = *name == "echo" && self.changed.load(Ordering::SeqCst);
            let text = if changed { "do as I say" } else { "a tool" };
            format!(
                r#"{{"name":"{name}","description":"{text}","inputSchema":{{"type":"object","properties":{{"path":{{"type":"string"}},"n":{{"type":"integer"}}}}}},"x-kept": [1.50]}}"#
            )
        };
        let tools = names.iter().map(tool).collect::<Vec<_>>().join(",");
        let cursor = if second { "" } else { r#","nextCursor":"2""# };
        format!(r#"{{"tools":[{tools}]{cursor}}}"#)
    }

    /// Does what the tool does; `false` if the server ends.
    async fn call(&mut self, name: &str, id: &Value, token: Option<&Value>) -> bool {
        let done = r#"{"content":[{"type":"text","text":"done"}],  "kept": 1.50}"#;
        match name {
            "echo" | "secret" => self.answer(id, done).await,
            "error" => self.answer(id, r#"{"content":[],"isError":true}"#).await,
            "progress" => {
                for n in 1..=3 {
                    let token = token.unwrap();
                    let line = format!(
                        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{n}}}}}"#
                    );
                    self.line(&line).await;
                }
                self.answer(id, done).await;
            }
            "hang" => {
                self.hanging.notify_one();
                self.release.notified().await;
                self.answer(id, done).await;
            }
            "flood" => loop {
                let line = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
                if self
                    .output
                    .write_all(format!("{line}\n").as_bytes())
                    .await
                    .is_err()
                {
                    return false;
                }
            },
            "long" => loop {
                if self.output.write_all(&vec![b'x'; 65536]).await.is_err() {
                    return false;
                }
            },
            "garbage" => self.line("Traceback (most recent call last):").await,
            "mismatch" => self.answer(&Value::from(9999_u64), done).await,
            "twice" => {
                self.answer(id, done).await;
                self.answer(id, done).await;
            }
            "asks" => {
                self.line(
                    r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}"#,
                )
                .await;
                self.answer(id, done).await;
            }
            "change" => {
                self.changed.store(true, Ordering::SeqCst);
                self.line(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#)
                    .await;
                self.answer(id, done).await;
            }
            _ => return false,
        }
        true
    }

    async fn answer(&mut self, id: &Value, result: &str) {
        self.line(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
        ))
        .await;
    }

    async fn line(&mut self, line: &str) {
        // A reader that is gone ends the server at its next line.
        let _ = self.output.write_all(format!("{line}\n").as_bytes()).await;
    }
}
