use super::*;

type Numbers = Asks<u64, u64>;

fn asks() -> (Numbers, Messages<u64>) {
    Asks::new("gateway", CancellationToken::new())
}

async fn next(sent: &mut Messages<u64>) -> Option<u64> {
    use futures_util::StreamExt;
    sent.next().await.map(Result::unwrap)
}

#[tokio::test]
async fn whoever_waits_for_a_session_that_ends_is_told_so() {
    let (asks, mut sent) = asks();
    let asked = asks.ask(|number| number);
    let ending = async {
        assert_eq!(next(&mut sent).await, Some(0));
        asks.end(None);
    };
    let (answer, ()) = tokio::join!(asked, ending);
    assert!(answer.is_err());
    assert!(asks.ask(|number| number).await.is_err());
    assert_eq!(next(&mut sent).await, None);
}

#[tokio::test]
async fn an_answer_goes_to_the_ask_of_its_number() {
    let (asks, mut sent) = asks();
    let asked = async { tokio::join!(asks.ask(|n| n), asks.ask(|n| n)) };
    let answering = async {
        assert_eq!(next(&mut sent).await, Some(0));
        assert_eq!(next(&mut sent).await, Some(1));
        assert!(asks.answered(2, 99).is_err());
        asks.answered(1, 11).unwrap();
        asks.answered(1, 12).unwrap();
        asks.answered(0, 10).unwrap();
    };
    let (answers, ()) = tokio::join!(asked, answering);
    assert_eq!(answers, (Ok(10), Ok(11)));
}

#[tokio::test]
async fn a_session_that_never_answers_holds_few_asks() {
    use futures_util::FutureExt;
    let (asks, mut sent) = asks();
    let mut waiting = Vec::new();
    for _ in 0..ASKS_WAITING_MAX {
        let mut ask = Box::pin(asks.ask(|number| number));
        assert!(ask.as_mut().now_or_never().is_none());
        waiting.push(ask);
        next(&mut sent).await;
    }
    assert!(asks.ask(|number| number).await.is_err());
    // Whoever gives up makes room.
    waiting.pop();
    let mut ask = Box::pin(asks.ask(|number| number));
    assert!(ask.as_mut().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_does_not_answer_is_ended_with_the_reason() {
    use futures_util::StreamExt;
    let (asks, mut sent) = asks();
    assert!(asks.ask(|number| number).await.is_err());
    assert_eq!(sent.next().await.unwrap().unwrap(), 0);
    let why = sent.next().await.unwrap().unwrap_err();
    assert_eq!(why.code(), tonic::Code::DeadlineExceeded);
    assert!(sent.next().await.is_none());
}
